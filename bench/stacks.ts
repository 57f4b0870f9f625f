/**
 * Backtraces a second: a stack of fifteen frames from kernel code through a system call into a program, as a probe with
 * `--stack` walks it at each hit; and how long the tables of a real kernel and a real program take to be read.
 *
 *     node test/oracle/run.mjs bench/stacks.ts [KERNEL…] [--prove] [--package PACKAGE]… [--vmlinuz FILE]… [--samples N]
 *         [--append TEXT] [--cpu MODEL] [--qemu PROGRAM]
 *
 * Three ways: `walk` with memory that is asked page by page, the same with pages kept from hit to hit, and a walk that
 * its caller drives, without a promise. Fails when a walk does not find all frames, or below 20,000 a second.
 *
 * With `--prove`, are they the right ones? A guest is recorded that samples its own stacks with perf, and the stack at
 * each instant of a sample is compared with what the guest's kernel found there. `--vmlinuz` boots a kernel that is in no
 * package here. Fails when any differs.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withSyncFile } from "../src/base/sync-source.js";
import { makeGuest } from "../src/guest/guest.js";
import { StackMemory } from "../src/linux/stack/memory.js";
import { StackWalker } from "../src/linux/stack/stack.js";
import { inspectQemu } from "../src/qemu/build.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { ElfFile } from "../src/symbols/elf/elf.js";
import { openKernelImage } from "../src/symbols/kernel/image.js";
import { readOrcImage } from "../src/symbols/kernel/orc-image.js";
import { keyOf } from "../src/symbols/tables/address.js";
import { CfiIndex } from "../src/symbols/unwind/cfi-index.js";
import { rowAt } from "../src/symbols/unwind/cfi-rows.js";
import { placesFrom } from "../src/tape/home.js";
import { defaultRecordOptions } from "../src/tape/record-options.js";
import { record } from "../src/tape/recording.js";
import { buildSamples, compareStacks, samplesInit } from "../test/linux/stack-proof.js";
import {
  at,
  call,
  kernelWith,
  programWith,
  registers,
  SceneMemory,
  saved,
  savedRegisters,
} from "../test/linux/stack-scene.js";
import { cfi } from "../test/symbols/cfi-fixture.js";

const rounds = 5;
const walks = 20_000;
const kernelFrames = 7;
const depth = 15;
const leastRate = 20_000;
const print = (line: string) => process.stdout.write(`${line}\n`);

const kernel = kernelWith([
  ...Array.from({ length: kernelFrames - 1 }, (_, i) =>
    call(i * 0x100, 64, { bpRegister: 1, bpOffset: -16 }),
  ),
  saved((kernelFrames - 1) * 0x100),
]);
const userFrames = depth - kernelFrames;
const files = programWith(
  Array.from({ length: userFrames }, (_, i) => ({
    start: 0x1000 + i * 0x100,
    length: 0x100,
    instructions:
      i === userFrames - 1
        ? cfi.undefined(16)
        : [
            ...cfi.advance(1),
            ...cfi.defCfaOffset(16),
            ...cfi.offset(6, 2),
            ...cfi.advance(2),
            ...cfi.defCfaOffset(24),
            ...cfi.offset(3, 3),
            ...cfi.advance(4),
            ...cfi.defCfaOffset(96),
          ],
  })),
);

function makeMemory(): SceneMemory {
  const memory = new SceneMemory();
  for (let i = 0; i < kernelFrames - 1; i++) {
    const frame = at.kernelStack + BigInt(i * 64);
    memory.words(frame, 0, 0, 0, 0, 0, 0, 0, at.kernel + BigInt((i + 1) * 0x100 + 0x20));
  }
  const inProgram = savedRegisters({ rip: at.program + 0x1020n, rsp: at.stack, originalRax: 1n });
  memory.words(at.kernelStack + BigInt((kernelFrames - 1) * 64), ...inProgram);
  for (let i = 0; i < userFrames - 1; i++) {
    const returnsTo = at.program + BigInt(0x1000 + (i + 1) * 0x100 + 0x20);
    memory.words(at.stack + BigInt(i * 96), ...new Array(11).fill(0), returnsTo);
  }
  return memory;
}

const start = registers({ rip: at.kernel + 0x20n, rsp: at.kernelStack }, 0x10);
const nameOf = (address: bigint) =>
  address - at.kernel >= 0x600n ? "entry_SYSCALL_64_after_hwframe" : "work";

async function benchWalks(): Promise<void> {
  const scene = makeMemory();
  // Whole pages at once, as a machine gives them; the scene's own way is slow.
  const pages = new Map<bigint, Uint8Array | undefined>();
  const memory = {
    async read(address: bigint, length: number) {
      const key = address + BigInt(length) * 2n ** 64n;
      if (!pages.has(key)) pages.set(key, await scene.read(address, length));
      return pages.get(key);
    },
  };
  const walker = new StackWalker({ kernel, files, nameOf });
  const first = await walker.walk(start, memory);
  if (first.frames.length !== depth || first.end !== "outermost" || !first.frames.at(-1)!.reliable) {
    throw new Error(`${first.frames.length} frames, ${first.end}`);
  }
  const kept = new StackMemory(memory);
  const ways: [name: string, run: () => Promise<unknown> | unknown][] = [
    ["walk, memory asked each time", () => walker.walk(start, memory)],
    [
      "walk, pages kept",
      async () => {
        const walk = walker.begin(start, kept);
        while (!walk.advance()) await walk.supply();
        return walk.stack;
      },
    ],
  ];
  for (const [name, run] of ways) {
    let best = 0;
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      for (let i = 0; i < walks; i++) await run();
      best = Math.max(best, walks / ((performance.now() - began) / 1000));
    }
    print(`${name}: ${Math.round(best).toLocaleString("en")} stacks of ${depth} frames a second`);
    if (best < leastRate) process.exitCode = 1;
  }
}

function benchTables(kernels: readonly string[]): void {
  for (const file of kernels) {
    withSyncFile(file, (source) => {
      const began = performance.now();
      const image = openKernelImage(source, { whole: true });
      const unpacked = performance.now();
      const orc = readOrcImage(image.elf);
      const read = performance.now() - unpacked;
      print(
        `${file}: unpacked in ${(unpacked - began).toFixed(0)} ms, ${orc?.count ?? 0} ORC entries in ${read.toFixed(0)} ms`,
      );
    });
  }
  withSyncFile("/proc/self/exe", (source) => {
    const elf = ElfFile.open(source);
    const section = elf.section(".eh_frame")!;
    const address = keyOf(section.address);
    const bytes = elf.contents(section);
    const bases = { section: address };
    const began = performance.now();
    const index = new CfiIndex({ bytes, address, flavor: "eh", bases });
    let count = 0;
    for (const description of index.descriptions()) {
      rowAt(description, description.end - 1, bases);
      count++;
    }
    const took = performance.now() - began;
    print(
      `node: ${count.toLocaleString("en")} frame descriptions read and executed in ${took.toFixed(0)} ms ` +
        `(${((took / count) * 1000).toFixed(1)} µs each)`,
    );
  });
}

/** Records the guest that samples its stacks, and compares. */
async function prove(wanted: { package?: string; vmlinuz?: string }): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "vmtape-stacks-"));
  try {
    const [init, program] = [join(scratch, "init"), join(scratch, "samples")];
    await writeFile(init, samplesInit);
    await buildSamples(program);
    const { cache } = placesFrom(process.env);
    const additions = [{ source: program, destination: "/bin/samples" }];
    const guest = await makeGuest({ cacheDir: cache, package: wanted.package, init, additions });
    const places = {
      home: join(scratch, "home"),
      cache: join(scratch, "cache"),
      runtime: join(scratch, "run"),
    };
    const recording = await record(places, {
      ...(await defaultRecordOptions("samples")),
      ...(values.qemu && { qemu: await inspectQemu(values.qemu) }),
      ...(values.cpu && { cpu: values.cpu }),
      kernel: wanted.vmlinuz ?? guest.kernel,
      initrd: guest.initrd,
      append: `${guest.append} ${values.append}`,
    });
    const tape = await recording.done;
    const candidates = values.qemu === undefined ? {} : { qemu: [values.qemu] };
    const options = await timelineOptions({ ...places, cache }, tape, candidates);
    const verdict = await compareStacks(tape, options, Number(values.samples));
    const { compared, frames, further, differences } = verdict;
    print(
      `${wanted.vmlinuz ?? guest.version}: ${compared} stacks of ${frames} frames compared, ${differences.length} differ, ` +
        `${further} go on where the kernel itself gives up`,
    );
    for (const difference of differences) print(difference);
    if (differences.length > 0 || compared === 0) process.exitCode = 1;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prove: { type: "boolean", default: false },
    package: { type: "string", multiple: true, default: [] },
    vmlinuz: { type: "string", multiple: true, default: [] },
    samples: { type: "string", default: "200" },
    append: { type: "string", default: "" },
    cpu: { type: "string" },
    qemu: { type: "string" },
  },
});
if (values.prove) {
  const guests = [
    ...values.package.map((name) => ({ package: name })),
    ...values.vmlinuz.map((vmlinuz) => ({ vmlinuz })),
  ];
  for (const guest of guests.length > 0 ? guests : [{}]) await prove(guest);
} else {
  await benchWalks();
  benchTables(positionals);
}
