import { readFileSync } from "node:fs";

/**
 * The instants at which the recorded processor took interrupts and exceptions, read from QEMU's replay log.
 *
 * This is a second, plain reader, apart from the one in `src/formats/`: the oracle must not use the code that it
 * judges. Source of the layout: QEMU's replay/replay-internal.h (7.2 and 10.0) and replay-events.c.
 */
export interface Deliveries {
  /** Instructions executed before each delivery; rises, and equal values are in the order of delivery. */
  readonly icounts: Float64Array;
  /** 1 where the processor took an interrupt, 0 where it took an exception. */
  readonly interrupts: Uint8Array;
  /** Instructions executed up to the end of the log. */
  readonly end: number;
}

/** The path of the log that a QEMU command replays. */
export function replayLogOf(argv: readonly string[]): string {
  const icount = argv.find((value) => value.includes("rrfile="));
  const log = icount?.match(/rrfile=((?:[^,]|,,)+)/)?.[1]?.replaceAll(",,", ",");
  if (log === undefined) throw new Error("the command replays no log");
  return log;
}

const header = 12;
const fixedPayloads = new Map<number, number>([
  [1, 0], // interrupt
  [2, 0], // exception
  [3, 8], // bottom half
  [4, 8],
  [6, 0], // input sync
  [8, 8], // block request
  [22, 8], // character write
  [24, 4], // character read error
  [25, 8], // audio out
  [28, 8], // clocks
  [29, 8],
  [39, 0], // end
]);
for (let kind = 10; kind <= 21; kind++) fixedPayloads.set(kind, 0); // shutdown, by cause
for (let kind = 30; kind <= 38; kind++) fixedPayloads.set(kind, 0); // checkpoints

/** Offset, inside the payload, of the length of the bytes that end it. */
const lengthOffsets = new Map<number, number>([
  [7, 1], // character read: id, length
  [9, 5], // network packet: id, flags, length
  [23, 0], // character read all
  [27, 4], // random: result, length
]);

/** Reads the whole log at `path`. @throws Error on an event it does not know */
export function readDeliveries(path: string): Deliveries {
  const log = readFileSync(path);
  const icounts: number[] = [];
  const interrupts: number[] = [];
  let icount = 0;
  let offset = header;
  while (offset < log.length) {
    const kind = log[offset++]!;
    if (kind === 0) {
      icount += log.readUInt32BE(offset);
      offset += 4;
      continue;
    }
    if (kind === 1 || kind === 2) {
      icounts.push(icount);
      interrupts.push(kind === 1 ? 1 : 0);
    }
    const fixed = fixedPayloads.get(kind);
    const lengthOffset = lengthOffsets.get(kind);
    if (fixed !== undefined) offset += fixed;
    else if (lengthOffset !== undefined) {
      offset += lengthOffset + 4 + log.readUInt32BE(offset + lengthOffset);
    } else throw new Error(`${path}: event ${kind} at ${offset - 1} is not known to the oracle`);
  }
  return { icounts: Float64Array.from(icounts), interrupts: Uint8Array.from(interrupts), end: icount };
}

/** The index of the first delivery at or after `icount`. */
export function firstDeliveryFrom(deliveries: Deliveries, icount: number): number {
  let low = 0;
  let high = deliveries.icounts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (deliveries.icounts[middle]! < icount) low = middle + 1;
    else high = middle;
  }
  return low;
}
