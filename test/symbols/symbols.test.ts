import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { formatAddress } from "../../src/symbols/names/symbol-format.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import type { SymbolTable } from "../../src/symbols/tables/symbol-table.js";
import { makeElf } from "./elf-fixture.js";

/** Functions back to back from an address: name and size. */
function tableOf(start: bigint, functions: readonly (readonly [name: string, size: number])[]): SymbolTable {
  let value = start;
  const symbols = functions.map(([name, size]) => {
    const symbol = { name, value, size, section: ".text" };
    value += BigInt(size);
    return symbol;
  });
  const bytes = new Uint8Array(Number(value - start));
  const elf = makeElf({ sections: [{ name: ".text", address: start, bytes }], symbols });
  return readElfSymbols(ElfFile.open(syncBytes(elf)));
}

const kernelStart = 0xffff_ffff_8100_0000n;
const kernel = tableOf(kernelStart, [
  ["schedule", 64],
  ["do_idle", 64],
  ["vfs_read", 64],
  ["vfs_write", 64],
]);
const user = tableOf(0x40_1000n, [
  ["main", 32],
  ["write", 32],
]);
const library = tableOf(0x1000n, [
  ["write", 16],
  ["read", 16],
]);

describe("several sources", () => {
  const slide = 0x1e0_0000n;
  const bias = 0x7fff_f7c0_0000n;
  const symbols = new Symbols();
  symbols.add({ name: "vmlinuz", table: kernel, bias: slide });
  symbols.add({ name: "init", table: user, prefix: "User:" });
  symbols.add({ name: "libc.so", table: library, prefix: "User:", bias });

  it("each answers at its own addresses", () => {
    expect(symbols.lookup(kernelStart + slide + 65n)).toEqual({
      name: "do_idle",
      offset: 1,
      start: kernelStart + slide + 64n,
      size: 64,
      source: "vmlinuz",
      prefix: "",
    });
    expect(symbols.lookup(kernelStart)).toBeUndefined();
    expect(symbols.nameOf(0x40_1020n)).toEqual({ name: "User:write", offset: 0, start: 0x40_1020n });
    expect(symbols.nameOf(bias + 0x1011n)).toEqual({ name: "User:read", offset: 1, start: bias + 0x1010n });
    expect(symbols.nameOf(0x1011n)).toBeUndefined();
  });

  it("prints in GDB's style and in the full one", () => {
    const print = (address: bigint) => formatAddress(address, symbols.lookup(address));
    expect(print(kernelStart + slide)).toBe("0xffffffff82e00000 <schedule>");
    expect(print(kernelStart + slide + 10n)).toBe("0xffffffff82e0000a <schedule+10>");
    expect(print(0x40_1001n)).toBe("0x401001 <User:main+1>");
    expect(print(0xdead_beefn)).toBe("0xdeadbeef");
    const inlined = {
      ...symbols.lookup(kernelStart + slide + 10n)!,
      inlined: [{ name: "raw_spin_lock", offset: 3 }],
    };
    expect(formatAddress(0x10n, inlined, "full")).toBe("0x10 <raw_spin_lock+3 @ schedule+10>");
    expect(formatAddress(0x10n, inlined, "gdb")).toBe("0x10 <schedule+10>");
    expect(formatAddress(0x10n, { ...inlined, offset: 0, inlined: [{ name: "f", offset: 0 }] }, "full")).toBe(
      "0x10 <f @ schedule>",
    );
  });

  it("finds a name in all of them, or in those of a prefix", () => {
    expect(symbols.find("write").map(({ address }) => address)).toEqual([0x40_1020n, bias + 0x1000n]);
    expect(symbols.find("User:main")).toMatchObject([{ address: 0x40_1000n, source: "init" }]);
    expect(symbols.find("schedule")).toMatchObject([{ address: kernelStart + slide, kind: "T", size: 64 }]);
    expect(symbols.find("User:schedule")).toEqual([]);
    expect(symbols.find("nothing")).toEqual([]);
  });

  it("finds names by pattern", () => {
    expect(symbols.glob("vfs_*").map(({ name }) => name)).toEqual(["vfs_read", "vfs_write"]);
    expect(symbols.glob("*r[ei]*", 3).map(({ name }) => name)).toEqual(["vfs_read", "vfs_write", "write"]);
    expect(symbols.glob("User:m???").map(({ name }) => name)).toEqual(["main"]);
  });

  it("offers the nearest names", () => {
    expect(symbols.nearestNames("vfs_raed")[0]).toBe("vfs_read");
    expect(symbols.nearestNames("Shedule")[0]).toBe("schedule");
    expect(symbols.nearestNames("idle")).toContain("do_idle");
    expect(symbols.nearestNames("nothing_like_it_at_all")).toEqual([]);
  });

  it("takes modules in and out again", () => {
    const grown = new Symbols();
    grown.add({ name: "vmlinuz", table: kernel });
    const address = 0xffff_ffff_c020_0000n;
    expect(grown.lookup(address)).toBeUndefined();
    grown.add({ name: "module m", table: tableOf(address, [["probe", 8]]) });
    expect(grown.lookup(address)?.name).toBe("probe");
    expect(grown.lookup(kernelStart)?.name).toBe("schedule");
    expect(grown.remove("module m")).toBe(true);
    expect(grown.remove("module m")).toBe(false);
    expect(grown.lookup(address)).toBeUndefined();
  });
});

describe("a name without what compilers put behind it", () => {
  const start = 0xffff_ffff_8100_0000n;
  const symbols = new Symbols();
  symbols.add({
    name: "vmlinuz",
    table: tableOf(start, [
      ["whole", 16],
      ["whole.cold", 16],
      ["finish_task_switch.isra.0", 16],
      ["finish_task_switch.isra.0.cold", 16],
      ["promoted.llvm.1234567890123456789", 16],
      ["cold_only.cold", 16],
      ["old_cold.cold.12", 16],
      ["twice.isra.0", 16],
      ["twice.constprop.0", 16],
      ["same.part.0", 16],
      ["same.part.0", 16],
      ["chain.constprop.0.isra.0", 16],
      ["counter.0", 8],
      ["file.c", 8],
      ["kept.pages", 8],
      ["_ZN1a6helperEi.isra.0.cold", 16],
      ["_ZN1a6helperEi.isra.0", 16],
    ]),
  });
  symbols.add({
    name: "module m",
    table: tableOf(0xffff_ffff_c000_0000n, [["in_module.constprop.0", 16]]),
    prefix: "M:",
  });
  const find = (name: string) => symbols.find(name).map((one) => one.name);

  it.each([
    ["whole", ["whole"]],
    ["finish_task_switch", ["finish_task_switch.isra.0"]],
    ["promoted", ["promoted.llvm.1234567890123456789"]],
    ["cold_only", ["cold_only.cold"]],
    ["old_cold", ["old_cold.cold.12"]],
    ["chain", ["chain.constprop.0.isra.0"]],
    ["counter", ["counter.0"]],
    ["same", ["same.part.0", "same.part.0"]],
    ["in_module", ["in_module.constprop.0"]],
    ["M:in_module", ["in_module.constprop.0"]],
    ["a::helper", ["a::helper(int) [clone .isra.0]"]],
  ])("%s is taken when it is the only one", (name, found) => {
    expect(find(name)).toEqual(found);
    expect(symbols.resolve(name).map((one) => "name" in one && one.name)).toEqual(found);
  });

  it("is offered where there are several, and no other dot is taken for one", () => {
    expect(find("twice")).toEqual([]);
    expect(symbols.nearestNames("twice").slice(0, 2)).toEqual(["twice.isra.0", "twice.constprop.0"]);
    expect(symbols.variants("twice")).toEqual(["twice.isra.0", "twice.constprop.0"]);
    expect(find("file")).toEqual([]);
    expect(find("kept")).toEqual([]);
    expect(find("finish_task_switch.isra.0.cold")).toEqual(["finish_task_switch.isra.0.cold"]);
  });

  it("of the linker's own number: what is looked up in a kernel is found, unless there are two", () => {
    const { names } = tableOf(start, [
      ["modules.llvm.42", 16],
      ["prb.isra.0", 16],
      ["both.llvm.1", 16],
      ["both.llvm.2", 16],
      ["exact", 16],
      ["exact.llvm.3", 16],
    ]);
    expect(["modules", "prb", "both", "exact", "none"].map((name) => names.findLinked(name))).toEqual([
      0,
      undefined,
      undefined,
      4,
      undefined,
    ]);
  });
});

it("keeps a source to its range, and lets a larger priority win", () => {
  const symbols = new Symbols();
  symbols.add({ name: "a", table: user, range: { first: 0x40_1008n, last: 0x40_1027n } });
  symbols.add({ name: "b", table: tableOf(0x40_1000n, [["other", 128]]), prefix: "B:" });
  const names = [0x1007, 0x1008, 0x1027, 0x1028, 0x107f, 0x1080].map(
    (low) => symbols.nameOf(0x40_0000n + BigInt(low))?.name,
  );
  expect(names).toEqual(["B:other", "main", "write", "B:other", "B:other", undefined]);
  symbols.add({ name: "c", table: tableOf(0x40_1000n, [["first", 16]]), priority: 1 });
  expect(symbols.nameOf(0x40_1008n)?.name).toBe("first");
  symbols.add({ name: "d", table: tableOf(0x50_1000n, [["main", 16]]), priority: 2 });
  expect(symbols.find("main").map(({ source }) => source)).toEqual(["d", "a"]);
});

it("in bulk says the same as one by one", () => {
  const symbols = new Symbols();
  symbols.add({ name: "kernel", table: kernel });
  symbols.add({ name: "user", table: user, prefix: "User:" });
  const anyAddress = fc.oneof(
    fc.bigInt({ min: kernelStart - 16n, max: kernelStart + 300n }),
    fc.bigInt({ min: 0x40_0ff0n, max: 0x40_1080n }),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  );
  fc.assert(
    fc.property(fc.array(anyAddress, { minLength: 1, maxLength: 50 }), (list) => {
      const ids = new Int32Array(list.length);
      const offsets = new Float64Array(list.length);
      symbols.lookupMany(BigUint64Array.from(list), ids, offsets);
      list.forEach((address, i) => {
        const one = symbols.nameOf(address);
        const id = ids[i]!;
        const many =
          id < 0
            ? undefined
            : { name: symbols.nameById(id), offset: offsets[i], start: symbols.startById(id) };
        expect(many).toEqual(one);
      });
    }),
  );
});

it("names nothing in a table without sources, and nothing beyond 2^53", () => {
  const symbols = new Symbols();
  expect(symbols.lookup(0n)).toBeUndefined();
  expect(symbols.find("main")).toEqual([]);
  symbols.add({ name: "user", table: user });
  expect(symbols.lookup((1n << 53n) + 0x40_1000n)).toBeUndefined();
  expect(symbols.lookup(0x7fff_ffff_ffff_ffffn)).toBeUndefined();
});
