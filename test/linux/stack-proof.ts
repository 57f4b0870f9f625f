import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { runTool } from "../../src/base/tool.js";
import { guestAddress } from "../../src/base/units.js";
import { LinuxGuest } from "../../src/linux/guest/linux-guest.js";
import { stoppedTimeline } from "../../src/linux/guest/stopped-timeline.js";
import { TapeSymbols } from "../../src/linux/names/tape-symbols.js";
import { TapeStacks } from "../../src/linux/stack/tape.js";
import { Timeline } from "../../src/replay/timeline/timeline.js";
import type { timelineOptions } from "../../src/replay/timeline/timeline-options.js";
import type { Tape } from "../../src/tape/tape.js";

/** Runs the program that samples its own stacks. */
export const samplesInit = `#!/bin/sh
mount -t proc proc /proc
mkdir -p /tmp
mount -t tmpfs tmpfs /tmp
ip link set lo up
/bin/samples
sleep 1
poweroff -f
`;

/** Compiles it. */
export async function buildSamples(output: string): Promise<void> {
  const source = fileURLToPath(new URL("./stack-samples.c", import.meta.url));
  await runTool("gcc", ["-O2", "-static", "-o", output, source]);
}

/** One stack as the guest's kernel found it. */
interface Sample {
  readonly time: number;
  /** From the sampled instruction outwards. */
  readonly kernel: readonly bigint[];
  /** The program's pc. */
  readonly user: bigint | undefined;
}

/** `PERF_CONTEXT_KERNEL` and `PERF_CONTEXT_USER`: the addresses after it belong to the kernel, or to the program. */
const contexts = { kernel: 0xffff_ffff_ffff_ff80n, user: 0xffff_ffff_ffff_fe00n } as const;
/** The kernel function that finds the kernel's part of a sample. It is called once for each sample. */
const sampler = "perf_callchain_kernel";

/** The samples on a console that have a kernel part, in the order in which they were taken. */
export function readSamples(console: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of console.split(/\r*\n/)) {
    if (!line.startsWith("@S ")) continue;
    const [, , time, ...words] = line.split(" ");
    const addresses = words.map((word) => BigInt(`0x${word}`));
    if (addresses[0] !== contexts.kernel) continue;
    const end = addresses.indexOf(contexts.user);
    const kernel = addresses.slice(1, end < 0 ? undefined : end);
    // In a sample at a switch, a 5.10 kernel lists the first address twice.
    if (kernel[0] === kernel[1]) kernel.shift();
    samples.push({ time: Number(time), kernel, user: end < 0 ? undefined : addresses[end + 1] });
  }
  return samples.sort((a, b) => a.time - b.time);
}

export interface StackVerdict {
  readonly compared: number;
  readonly frames: number;
  /** How many stacks vmtape follows further than the kernel, which gave up. */
  readonly further: number;
  readonly differences: readonly string[];
}

/** Compares the stack at each of the first `most` samples of a tape with what its kernel found there. */
export async function compareStacks(
  tape: Tape,
  options: Awaited<ReturnType<typeof timelineOptions>>,
  most: number,
): Promise<StackVerdict> {
  const samples = readSamples(await readFile(tape.layout.console, "latin1"));
  await using timeline = await Timeline.open(tape, options);
  const symbols = await TapeSymbols.load(tape, options);
  timeline.addPoint({ kind: "execute", address: guestAddress(symbols.addressOf(sampler)) });
  const stacks = new TapeStacks(tape, symbols.symbols);
  const memory = {
    async read(address: bigint, length: number) {
      const bytes = await timeline.readMemory(guestAddress(address), length);
      return bytes?.length === length ? bytes : undefined;
    },
  };
  const differences: string[] = [];
  let compared = 0;
  let frames = 0;
  let further = 0;
  for (const sample of samples.slice(0, most)) {
    if ((await timeline.run("forward")).why !== "point") break;
    const known = { symbols: symbols.kernel!, types: undefined };
    const guest = await LinuxGuest.at(await stoppedTimeline(timeline), known, symbols.place);
    const found = await stacks.walk(new Uint8Array(await timeline.registers()), memory, guest);
    const kernel = found.frames.filter(({ space }) => space === "kernel");
    // The frames of the kernel's own sampling are not in the sample.
    const outer = kernel.slice(kernel.findIndex(({ pc }) => pc === sample.kernel[0]));
    const user = found.frames.find(({ space }) => space === "user");
    const ours = [...outer.map(({ pc }) => pc), ...(sample.user === undefined ? [] : [user?.pc])];
    const theirs = [...sample.kernel, ...(sample.user === undefined ? [] : [sample.user])];
    compared++;
    frames += theirs.length;
    const isReliable = outer.every(({ reliable }) => reliable);
    if (String(ours) === String(theirs) && isReliable) continue;
    // The kernel's tables do not cover all code that it patches into itself, so it may give up. It knows the
    // program's pc without them.
    const isPart = sample.kernel.length < outer.length && sample.kernel.every((pc, i) => pc === ours[i]);
    if (isPart && isReliable && ours.at(-1) === theirs.at(-1)) {
      further++;
      continue;
    }
    const named = (pcs: readonly (bigint | undefined)[]) =>
      pcs.map((pc) => (pc === undefined ? "nothing" : (symbols.describe(pc) ?? pc.toString(16)))).join(" < ");
    differences.push(`@${timeline.position.icount}\n  ours:   ${named(ours)}\n  theirs: ${named(theirs)}`);
  }
  return { compared, frames, further, differences };
}
