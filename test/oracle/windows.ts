import type { Interrupt } from "./qemu-interrupts.js";
import type { Deliveries } from "./replay-events.js";
import { ReplayProcess } from "./replay-process.js";

/** A stretch of a tape worth single-stepping, and why. Both ends are instruction counts, the last exclusive. */
export interface NamedWindow {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

const pageFault = 14;

/** The kinds of trouble, each with the interrupts that make it. */
const troubles: readonly [name: string, is: (interrupt: Interrupt) => boolean][] = [
  ["page fault, user", (i) => i.vector === pageFault && i.ring === 3 && (i.errorCode & 0x13) === 0],
  ["page fault, kernel", (i) => i.vector === pageFault && i.ring === 0],
  ["copy on write", (i) => i.vector === pageFault && (i.errorCode & 3) === 3],
  ["instruction fetch fault", (i) => i.vector === pageFault && (i.errorCode & 16) !== 0],
  ["timer or device, kernel", (i) => i.hardware && i.ring === 0],
  ["timer or device, user", (i) => i.hardware && i.ring === 3],
  ["other exception", (i) => !i.hardware && i.vector !== pageFault],
];

/**
 * Windows around what is difficult for a branch recorder, found in the tape itself: `count` of each trouble, spread
 * evenly over the run, `before` and `after` instructions around the instant. Overlapping windows become one.
 */
export function troubledWindows(
  interrupts: readonly Interrupt[],
  options: { readonly count: number; readonly before: number; readonly after: number },
): NamedWindow[] {
  const { count, before, after } = options;
  const windows: NamedWindow[] = [];
  for (const [name, is] of troubles) {
    const those = interrupts.filter(is);
    for (let i = 0; i < Math.min(count, those.length); i++) {
      const { icount } = those[Math.floor((i * those.length) / Math.min(count, those.length))]!;
      windows.push({ name, from: Math.max(0, icount - before), to: icount + after });
    }
  }
  return merged(windows);
}

/**
 * Windows around the firmware's interrupts in real mode, which QEMU does not report: its software interrupts and the
 * system management interrupt, `count` of them.
 */
export function firmwareWindows(
  deliveries: Deliveries,
  interrupts: readonly Interrupt[],
  options: { readonly count: number; readonly before: number; readonly after: number },
): NamedWindow[] {
  const { count, before, after } = options;
  const early = deliveries.icounts.subarray(0, deliveries.icounts.length - interrupts.length);
  return merged(
    Array.from({ length: Math.min(count, early.length) }, (_, i) => {
      const icount = early[Math.floor((i * early.length) / Math.min(count, early.length))]!;
      return { name: "firmware interrupt", from: Math.max(0, icount - before), to: icount + after };
    }),
  );
}

/** `count` windows of `length` instructions, spread evenly over a run of `end` instructions, the first at 0. */
export function evenWindows(end: number, count: number, length: number): NamedWindow[] {
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * (end - length)) / count);
    return { name: from === 0 ? "firmware" : "evenly spread", from, to: from + length };
  });
}

/**
 * Windows of `length` instructions that begin where the machine first reaches given addresses (a kernel function
 * that patches code, forks, delivers a signal …). Places never reached are left out.
 */
export async function placeWindows(
  argv: readonly string[],
  places: ReadonlyMap<string, bigint>,
  length: number,
): Promise<NamedWindow[]> {
  await using process = await ReplayProcess.start(argv);
  const left = new Map(places);
  const windows: NamedWindow[] = [];
  for (const address of left.values()) await process.gdb.request(`Z0,${address.toString(16)},1`);
  while (left.size > 0) {
    const reply = await process.gdb.request("c");
    if (!reply.startsWith("T05")) break;
    const at = await process.address();
    const from = await process.icount();
    for (const [name, address] of left) {
      if (address !== at) continue;
      windows.push({ name, from, to: from + length });
      left.delete(name);
    }
    await process.gdb.request(`z0,${at.toString(16)},1`);
  }
  return windows;
}

/** The windows in order, those that overlap joined under the names of both. */
export function merged(windows: readonly NamedWindow[]): NamedWindow[] {
  const result: NamedWindow[] = [];
  for (const window of [...windows].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last === undefined || window.from > last.to) {
      result.push(window);
      continue;
    }
    const name = last.name.includes(window.name) ? last.name : `${last.name} + ${window.name}`;
    result[result.length - 1] = { name, from: last.from, to: Math.max(last.to, window.to) };
  }
  return result;
}
