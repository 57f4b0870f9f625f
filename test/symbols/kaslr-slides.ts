import type { GuestMemory } from "../../src/base/guest-memory.js";
import type { KernelSymbols } from "../../src/symbols/kernel/symbols.js";
import { keyOfWords } from "../../src/symbols/tables/address.js";

/** Other ways to find a kernel's slide than `placementFromPhysicalMemory`, whose results they confirm. */
const windowStart = 0xffff_ffff_8000_0000n;
const windowSize = 1 << 30;
const step = 2 << 20;
const slideCount = windowSize / step;
const windowStartKey = -(2 ** 31);

/** A slide and how sure it is. */
export interface Slide {
  /** What to add to link addresses. */
  readonly slide: bigint;
  /** Samples in the kernel's window that fit this slide. */
  readonly matched: number;
  /** Samples in the kernel's window. */
  readonly considered: number;
  /** Samples that fit the second best slide. */
  readonly runnerUp: number;
}

/** Fewer distinct addresses that fit prove nothing. */
const fewestMatches = 8;
/** The best slide must fit this part of the samples, and this many times as many as the next. */
const leastShare = 0.5;
const leastLead = 2;
/** More distinct addresses than these do not make the answer surer. */
const mostSamples = 4096;

/**
 * The slide under which most of the addresses are starts of functions. Feed it the targets of calls from a branch
 * log (or handlers read from MSR_LSTAR and the IDT); user addresses and modules are passed over. Modules lie outside
 * the window with KASLR, so nearly every kernel call fits: the true slide takes above 0.9 of a real log.
 *
 * Cost: at most 4,096 × 512 hash look-ups, 20 ms.
 *
 * @returns undefined when there are too few kernel addresses or no slide stands out
 */
export function slideFromCalls(
  targets: BigUint64Array,
  kernel: Pick<KernelSymbols, "table">,
): Slide | undefined {
  const samples = sampleOffsets(targets);
  const starts = functionOffsets(kernel);
  const matched = new Int32Array(slideCount);
  for (const sample of samples) {
    for (let i = 0; i < slideCount && i * step <= sample; i++) {
      if (starts.has(sample - i * step)) matched[i] = matched[i]! + 1;
    }
  }
  let best = 0;
  let second = -1;
  for (let i = 1; i < slideCount; i++) {
    if (matched[i]! > matched[best]!) {
      second = best;
      best = i;
    } else if (second < 0 || matched[i]! > matched[second]!) {
      second = i;
    }
  }
  const result: Slide = {
    slide: BigInt(best * step),
    matched: matched[best]!,
    considered: samples.length,
    runnerUp: matched[second]!,
  };
  const stands =
    result.matched >= fewestMatches &&
    result.matched >= result.considered * leastShare &&
    result.matched >= result.runnerUp * leastLead;
  return stands ? result : undefined;
}

/** Distinct addresses in the window, as offsets into it, evenly picked when there are many. */
function sampleOffsets(targets: BigUint64Array): number[] {
  const words = new Uint32Array(targets.buffer, targets.byteOffset, targets.length * 2);
  const distinct = new Set<number>();
  for (let i = 0; i < targets.length; i++) {
    const offset = keyOfWords(words[i * 2 + 1]!, words[i * 2]!) - windowStartKey;
    if (offset >= 0 && offset < windowSize) distinct.add(offset);
  }
  const all = [...distinct];
  if (all.length <= mostSamples) return all;
  return Array.from({ length: mostSamples }, (_, i) => all[Math.floor((i * all.length) / mostSamples)]!);
}

/** Link addresses of text symbols as offsets into the window. */
function functionOffsets({ table }: Pick<KernelSymbols, "table">): Set<number> {
  const offsets = new Set<number>();
  for (let i = 0; i < table.starts.length; i++) {
    if (!textKinds.has(table.kinds[i]!)) continue;
    const offset = table.starts[i]! - windowStartKey;
    if (offset >= 0 && offset < windowSize) offsets.add(offset);
  }
  return offsets;
}

const textKinds: ReadonlySet<number> = new Set([..."tTwW"].map((letter) => letter.charCodeAt(0)));

/**
 * The slide under which the kernel's banner stands in virtual memory; a proof, not a guess. 1 read when there is no
 * slide, at most 512.
 *
 * @param memory mapped as in kernel mode at the instant asked for
 * @returns undefined when the banner is nowhere: the kernel is not mapped yet, or it is another kernel
 */
export async function slideFromMemory(
  memory: GuestMemory,
  kernel: KernelSymbols,
): Promise<bigint | undefined> {
  const banner = kernel.evidence[0];
  if (!banner) return undefined;
  for (let slide = 0n; banner.address + slide < windowStart + BigInt(windowSize); slide += BigInt(step)) {
    const bytes = await memory.read(banner.address + slide, banner.bytes.length);
    if (bytes && Buffer.compare(bytes, banner.bytes) === 0) return slide;
  }
  return undefined;
}
