// Has GDB print the variables of values.c, and keeps the answers, the program and its memory. Needs gcc, pahole and
// gdb: `node make.mjs`, when values.c or expressions.txt change.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(join(tmpdir(), "values-"));
const run = (program, ...args) =>
  execFileSync(program, args, {
    cwd: work,
    encoding: "utf8",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
  });

run("cp", join(here, "values.c"), work);
run("gcc", "-g", "-gdwarf-5", "-O0", "-no-pie", "-o", "values", "values.c");
run("pahole", "-J", "--btf_gen_floats", "values");

const names = run("nm", "-S", "values")
  .split("\n")
  .map((line) => line.split(" "))
  .filter((parts) => parts.length === 4 && "BDRTbdrt".includes(parts[2]))
  .map(([address, size, , name]) => ({ name, address: `0x${address}`, size: `0x${size}` }))
  .filter(({ name }) => !name.startsWith("_") && !name.includes("."));
const variables = names.filter(({ name }) => name !== "state").map(({ name }) => name);
const expressions = [
  ...variables.flatMap((name) => [name, `&${name}`, `sizeof(${name})`]),
  ...readFileSync(join(here, "expressions.txt"), "utf8").trim().split("\n"),
];

const attempt = (command) =>
  `python\ntry:\n  gdb.execute(${JSON.stringify(command)})\nexcept Exception as x:\n  print("ERROR " + str(x))\nend`;
const script = [
  "set confirm off",
  "set pagination off",
  "set width 0",
  "set print frame-arguments none",
  "break stop_here",
  "run >/dev/null",
  "generate-core-file values.core",
  'printf "@@@registers\\n"',
  "info registers rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs",
  ...variables.flatMap((name) => [`printf "@@@what ${name}\\n"`, attempt(`whatis ${name}`)]),
  ...expressions.flatMap((text, i) => [
    `printf "@@@print ${i}\\n"`,
    attempt(text.startsWith("/") ? `print${text}` : `print ${text}`),
  ]),
  'printf "@@@end\\n"',
  "kill",
];
writeFileSync(join(work, "script"), script.join("\n"));
const answers = new Map();
for (const part of run("gdb", "-nx", "-batch", "-x", "script", "./values").split("@@@").slice(1)) {
  const end = part.indexOf("\n");
  answers.set(part.slice(0, end), part.slice(end + 1).trimEnd());
}

const registers = {};
for (const [, name, value] of answers.get("registers").matchAll(/^(\w+) +(0x[0-9a-f]+)/gm))
  registers[name] = value;

const core = readFileSync(join(work, "values.core"));
const memory = [];
for (let i = 0, at = Number(core.readBigUInt64LE(32)); i < core.readUInt16LE(56); i++, at += 56) {
  if (core.readUInt32LE(at) !== 1) continue;
  const [offset, address, size] = [8, 16, 32].map((field) => core.readBigUInt64LE(at + field));
  // Keeps the program's own pages, its heap and its stack, but not those of libraries.
  if (size === 0n || (address >= 0x7f0000000000n && address < 0x7ffffff00000n)) continue;
  if (address >= 0xffff000000000000n) continue;
  const bytes = core.subarray(Number(offset), Number(offset + size));
  memory.push({ address: `0x${address.toString(16)}`, gzip: gzipSync(bytes).toString("base64") });
}

const golden = {
  gdb: run("gdb", "--version").split("\n")[0],
  symbols: names,
  types: Object.fromEntries(
    variables.map((name) => [name, answers.get(`what ${name}`).replace("type = ", "")]),
  ),
  registers,
  memory,
  prints: expressions.map((text, i) => [text, answers.get(`print ${i}`).replace(/^\$\d+ = /, "")]),
};
writeFileSync(join(here, "gdb.json"), `${JSON.stringify(golden, null, 1)}\n`);
writeFileSync(join(here, "values.elf.gz"), gzipSync(readFileSync(join(work, "values")), { level: 9 }));
rmSync(work, { recursive: true });
