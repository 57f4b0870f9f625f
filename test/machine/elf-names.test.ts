import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withSyncFile } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { sectionFlag, sectionType } from "../../src/symbols/elf/layout.js";
import { loadSymbolSource } from "../../src/symbols/names/load-source.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { addressOfKey } from "../../src/symbols/tables/address.js";
import { Workbench } from "../workbench.js";

/** Aliases, labels, gaps, a function in a function, calls through jump stubs. */
const source = `
#include <stdio.h>
#include <stdlib.h>
static int counter;
int table[40];
__attribute__((noinline)) static int helper(int x) { return x * 3 + counter; }
__attribute__((noinline)) int Work(int x) { counter++; return helper(x) + table[x & 31]; }
int work_alias(int) __attribute__((alias("Work")));
int _weak_alias(int) __attribute__((weak, alias("Work")));
static int zz_local_alias(int) __attribute__((alias("Work"), used));
__asm__(".text\\n.globl asm_label\\nasm_label: nop\\n nop\\n inner: nop\\n ret\\n .p2align 6\\n"
        ".globl asm_function\\n.type asm_function,@function\\nasm_function: ret\\n"
        "label_in_gap: nop\\n nop\\n.size asm_function, 1\\n .p2align 5\\n"
        ".type outer,@function\\nouter: nop\\n nop\\n"
        ".type nested,@function\\nnested: nop\\n.size nested, 1\\n nop\\n nop\\n.size outer, . - outer\\n .p2align 5\\n");
int main(int count, char **arguments) {
  printf("%d %s\\n", Work(count), getenv("HOME"));
  return arguments[0][0];
}
`;

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

/** Evenly spaced addresses of every allocated section. */
function addressesOf(file: string, count: number): bigint[] {
  const sections = withSyncFile(file, (input) =>
    ElfFile.open(input).sections.filter(
      ({ flags, type, size, name }) =>
        flags & sectionFlag.allocate && type !== sectionType.noBits && size > 0 && !name.startsWith(".got"),
    ),
  );
  const total = sections.reduce((sum, { size }) => sum + size, 0);
  const step = Math.max(1, Math.floor(total / count));
  return sections.flatMap(({ address, size }) =>
    Array.from({ length: Math.ceil(size / step) }, (_, i) => address + BigInt(i * step)),
  );
}

/** GDB's name for each address, as NAME or NAME + OFFSET, or "-". */
function askGdb(file: string, addresses: readonly bigint[]): string[] {
  const commands = bench.path("commands");
  writeFileSync(commands, addresses.map((address) => `info symbol 0x${address.toString(16)}`).join("\n"));
  const settings = [
    "set debug-file-directory /nonexistent",
    "set print demangle off",
    "set print asm-demangle off",
  ];
  const output = execFileSync(
    "gdb",
    ["-batch", "-nx", ...settings.flatMap((line) => ["-iex", line]), "-x", commands, file],
    { maxBuffer: 1 << 28, env: { ...process.env, DEBUGINFOD_URLS: "", LC_ALL: "C" } },
  ).toString();
  return output
    .split("\n")
    .filter((line) => / in section |^No symbol matches/.test(line))
    .map((line) => (line.startsWith("No symbol") ? "-" : line.replace(/ in section .*/, "")));
}

function askOurselves(file: string, addresses: readonly bigint[]): string[] {
  const symbols = new Symbols();
  symbols.add(loadSymbolSource({ file }, { debugDirectories: [] }));
  return addresses.map((address) => {
    const located = symbols.lookup(address);
    return located ? `${located.name}${located.offset ? ` + ${located.offset}` : ""}` : "-";
  });
}

test.each([
  ["position-independent", ["-pie", "-fPIE"]],
  ["at fixed addresses", ["-no-pie"]],
])("a program %s is named as GDB names it, byte by byte", (_, options) => {
  const file = bench.path("a.out");
  writeFileSync(bench.path("a.c"), source);
  execFileSync("gcc", ["-O2", ...options, "-o", file, bench.path("a.c")]);
  const addresses = addressesOf(file, 1e9);
  const ours = askOurselves(file, addresses);
  expect(ours).toEqual(askGdb(file, addresses));
  expect(new Set(ours.map((name) => name.split(" ")[0]))).toContain("printf@plt");
  expect(ours).toContain("nested");
});

test("libc is named as GDB names it", () => {
  const file = "/lib/x86_64-linux-gnu/libc.so.6";
  const addresses = addressesOf(file, 5000);
  expect(askOurselves(file, addresses)).toEqual(askGdb(file, addresses));
});

test("the symbols of node are those of nm, with letters and sizes", () => {
  const file = process.execPath;
  const { table } = loadSymbolSource({ file });
  const ours = new Set(
    Array.from(table.starts, (start, i) => {
      const hex = (value: bigint | number) => value.toString(16).padStart(16, "0");
      const size = table.sizes[i] ? ` ${hex(table.sizes[i]!)}` : "";
      return `${hex(addressOfKey(start))}${size} ${String.fromCharCode(table.kinds[i]!)} ${table.names.at(i)}`;
    }),
  );
  const theirs = execFileSync("nm", ["-S", file], { maxBuffer: 1 << 28 })
    .toString()
    .trim()
    .split("\n");
  // Lines of nm with other letters are left out: small sections, and thread-local symbols, which have no addresses.
  const missing = theirs.filter(
    (line) => !/^ *[Uw] /.test(line) && !ours.has(line) && / [tTwWdDbBrRVi] /.test(line),
  );
  expect(theirs.length).toBeGreaterThan(1000);
  expect(missing.length, missing.slice(0, 5).join("\n")).toBeLessThan(theirs.length / 1000);
});
