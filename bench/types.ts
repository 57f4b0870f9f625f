/**
 * Types and values: time to load the BTF of stock kernels, beside `bpftool`; to open the DWARF types of a kernel, where
 * one is given; values printed and conditions evaluated a second.
 *
 *     npx rolldown bench/types.ts --platform node -o dist/bench/types.js
 *     node dist/bench/types.js [--dwarf VMLINUX] KERNEL…
 *
 * A KERNEL is a vmlinuz or vmlinux with BTF. Fails when BTF takes longer than 150 ms to load.
 */
import { execFileSync } from "node:child_process";
import { withSyncFile } from "../src/base/sync-source.js";
import { DwarfFile } from "../src/symbols/dwarf/file.js";
import { DwarfTypes } from "../src/symbols/dwarf/types.js";
import { ElfFile } from "../src/symbols/elf/elf.js";
import { compileExpression } from "../src/symbols/expression/compiler.js";
import {
  type ExpressionContext,
  evaluateTruth,
  printExpression,
} from "../src/symbols/expression/evaluator.js";
import { parseExpression } from "../src/symbols/expression/parser.js";
import { readKernelBtf } from "../src/symbols/kernel/btf-find.js";
import { openKernelImage } from "../src/symbols/kernel/image.js";
import { Types } from "../src/symbols/types/set.js";

const rounds = 7;
const mostBtf = 150;
const taskAddress = 0xffff888000000000n;

const print = (line: string) => process.stdout.write(`${line}\n`);
const ms = (value: number) => `${value.toFixed(1)} ms`;

function timed<T>(run: () => T): { readonly took: number; readonly result: T } {
  const start = performance.now();
  const result = run();
  return { took: performance.now() - start, result };
}

/** Loads, looks a structure up by name, and decodes its members: what the first question costs. */
function benchBtf(file: string): Types | undefined {
  return withSyncFile(file, (source) => {
    const image = openKernelImage(source);
    const loads: number[] = [];
    const answers: number[] = [];
    let types: Types | undefined;
    let count = 0;
    for (let i = 0; i < rounds; i++) {
      const load = timed(() => readKernelBtf(image));
      const { result: btf } = load;
      if (!btf) {
        print(`${file}: no BTF`);
        return undefined;
      }
      const set = new Types(btf);
      answers.push(timed(() => set.struct("task_struct").member("comm")).took);
      loads.push(load.took);
      types = set;
      count = btf.count;
    }
    const worst = Math.max(...loads.map((load, i) => load + answers[i]!));
    print(
      `BTF of ${file}: ${count} types loaded in ${ms(Math.min(...loads))}, ` +
        `first name and its members ${ms(Math.min(...answers))}; worst of ${rounds}, both: ${ms(worst)}`,
    );
    if (worst > mostBtf) {
      print(`more than ${mostBtf} ms`);
      process.exitCode = 1;
    }
    return types;
  });
}

function benchDwarf(file: string): void {
  withSyncFile(file, (source) => {
    const open = timed(() => new DwarfTypes(DwarfFile.open(ElfFile.open(source))!));
    const types = new Types(open.result);
    const first = timed(() => types.struct("task_struct").member("comm"));
    const second = timed(() => types.struct("mm_struct").member("pgd"));
    print(
      `DWARF types of ${file}: opened in ${ms(open.took)}, first name ${ms(first.took)}, next ${ms(second.took)}, ` +
        `peak ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`,
    );
  });
}

/** A task and its list neighbours in memory that answers at once: what remains is parsing, types and text. */
async function benchValues(types: Types): Promise<void> {
  const task = types.struct("task_struct");
  const bytes = Buffer.alloc(task.size);
  bytes.write("swapper/0", task.member("comm").byteOffset);
  bytes.writeInt32LE(42, task.member("pid").byteOffset);
  const self = task.member("real_parent").byteOffset;
  bytes.writeBigUInt64LE(taskAddress, self);
  const context: ExpressionContext = {
    types,
    memory: {
      async read(address, length) {
        const from = Number(address - taskAddress);
        return from >= 0 && from + length <= bytes.length ? bytes.subarray(from, from + length) : undefined;
      },
    },
    register: () => taskAddress,
  };
  const cases: readonly (readonly [text: string, count: number])[] = [
    ["((struct task_struct *)$rdi)->pid", 200_000],
    ["((struct task_struct *)$rdi)->real_parent->comm", 100_000],
    ["*(struct task_struct *)$rdi", 300],
  ];
  for (const [text, count] of cases) {
    const expression = parseExpression(text, types);
    await printExpression(expression, context);
    const start = performance.now();
    for (let i = 0; i < count; i++) await printExpression(expression, context);
    const took = performance.now() - start;
    print(`print ${text}: ${((count / took) * 1000).toFixed(0)} a second`);
  }
  const condition = "((struct task_struct *)$rdi)->pid > 40 && ((struct task_struct *)$rdi)->comm[0] == 's'";
  const expression = parseExpression(condition, types);
  const count = 200_000;
  const start = performance.now();
  for (let i = 0; i < count; i++) await evaluateTruth(expression, context);
  const rate = (count / (performance.now() - start)) * 1000;
  const code = await compileExpression(expression, { types, register: () => 5 });
  print(
    `condition evaluated here ${rate.toFixed(0)} a second; for QEMU it is ${code?.length} bytes of agent expression`,
  );
}

/** The time of the oracle for the same file, when it is installed. */
function benchBpftool(file: string): void {
  try {
    const { took } = timed(() =>
      execFileSync("bpftool", ["btf", "dump", "file", file, "format", "raw"], {
        maxBuffer: 1 << 28,
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
    print(`bpftool btf dump of the same: ${ms(took)}`);
  } catch {
    print(`bpftool cannot read ${file}, or is not installed`);
  }
}

const [...args] = process.argv.slice(2);
const at = args.indexOf("--dwarf");
const [, dwarf] = at < 0 ? [] : args.splice(at, 2);
let types: Types | undefined;
for (const kernel of args) {
  types = benchBtf(kernel) ?? types;
  if (!/vmlinuz/.test(kernel)) benchBpftool(kernel);
}
if (types) await benchValues(types);
if (dwarf) benchDwarf(dwarf);
