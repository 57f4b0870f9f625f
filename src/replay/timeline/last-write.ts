import { VmtapeError } from "../../base/errors.js";
import { throwIfCancelled } from "../../base/stopping.js";
import {
  type GuestAddress,
  guestAddress,
  hex,
  type Icount,
  icount,
  type PhysicalAddress,
  physicalAddress,
} from "../../base/units.js";
import type { Meeting } from "../session/point-hits.js";
import type { Position } from "../session/position.js";
import type { Instant, Watchpoint } from "../session/timeline-types.js";
import type { Timeline } from "./timeline.js";

/** Bytes whose past is asked for. A virtual address is one of the address space at the present instant. */
export interface AskedBytes {
  readonly space: "virtual" | "physical";
  readonly address: GuestAddress | PhysicalAddress;
  /** 1 to {@link mostAskedBytes}. */
  readonly length: number;
}

export const mostAskedBytes = 4096;

const pageBytes = 4096n;

/** One instruction or delivery that wrote to the bytes. */
export interface Write {
  /** The instant before the instruction or delivery. */
  readonly position: Position;
  /** All bytes that were asked for, before and after it. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** All that it wrote; this may reach beyond the bytes that were asked for. */
  readonly written: { readonly address: GuestAddress; readonly length: number };
  /** The processor wrote it when it delivered an interrupt or exception. */
  readonly delivery: boolean;
  /**
   * The bytes as the write before this one left them, where they are not {@link before}: something that is no
   * instruction changed them meanwhile (see {@link Past}). Only where that write is listed, too.
   */
  readonly changedSince?: Uint8Array;
}

/**
 * The past of some bytes. `unseen`: they changed after the last write (without a write: after `since`), though no
 * instruction wrote them. A device did it (DMA), or the processor's page walk (accessed and dirty bits).
 */
export interface Past {
  readonly writes: readonly Write[];
  readonly unseen?: { readonly after: Icount; readonly was: Uint8Array; readonly is: Uint8Array };
}

export interface PastOptions {
  /** All writes since this icount, but no more than the latest `limit`. Default: only the last write. */
  readonly since?: Icount;
  /** Default 1000. */
  readonly limit?: number;
}

/**
 * Which instructions wrote these bytes before the instant where `timeline` stands. It travels, and is back at that
 * instant at the end. Writes are looked for at the bytes' physical addresses, so that those through other mappings
 * and address spaces are found, too.
 *
 * Cost: a replay of the stretch, at some 3 times its plain duration, and 0.1 s for each write that is returned.
 *
 * @throws `not-mapped` when a virtual address is not mapped here; `usage`; `cancelled`
 */
export async function pastOf(
  timeline: Timeline,
  asked: AskedBytes,
  options: PastOptions = {},
  signal?: AbortSignal,
): Promise<Past> {
  if (!(asked.length >= 1 && asked.length <= mostAskedBytes)) {
    throw new VmtapeError(
      "usage",
      `the past of 1 to ${mostAskedBytes} bytes can be asked for, not of ${asked.length}`,
    );
  }
  const here = timeline.position;
  if (options.since !== undefined && options.since > here.icount) {
    throw new VmtapeError(
      "usage",
      `@${options.since} lies behind this instant, @${here.icount}: it is no past`,
    );
  }
  const pieces = await piecesOf(timeline, asked);
  const bytes = () => readPieces(timeline, pieces);
  const now = await bytes();
  const points = pieces.map(watch);
  try {
    const { since, limit = 1000 } = options;
    const meetings =
      since === undefined
        ? [await timeline.lastMeeting(points, icount(0), signal)].filter((one) => one !== undefined)
        : await timeline.meetings(points, { earliest: since, most: limit }, signal);
    const writes: Write[] = [];
    for (const meeting of meetings) {
      const write = await look(timeline, meeting, bytes, signal);
      const left = writes.at(-1)?.after ?? write.before;
      const changed = Buffer.compare(left, write.before) !== 0;
      writes.push(changed ? { ...write, changedSince: left } : write);
    }
    return { writes, ...(await unseenChange(timeline, writes.at(-1), since, bytes, now, signal)) };
  } finally {
    await timeline.goTo({ icount: here.icount, pc: here.pc });
  }
}

interface Piece {
  readonly physical: PhysicalAddress;
  readonly length: number;
}

/** Translates a range of addresses to physical ranges, one a page. */
async function piecesOf(timeline: Timeline, { space, address, length }: AskedBytes): Promise<Piece[]> {
  if (space === "physical") return [{ physical: physicalAddress(address), length }];
  const pieces: Piece[] = [];
  const end = address + BigInt(length);
  for (let at: bigint = address; at < end; ) {
    const next = at - (at % pageBytes) + pageBytes;
    const physical = await timeline.translate(guestAddress(at));
    if (physical === undefined) {
      throw new VmtapeError("not-mapped", `nothing is mapped at ${hex(at)} at this instant`, { address: at });
    }
    const pieceEnd = next < end ? next : end;
    pieces.push({ physical: physicalAddress(physical), length: Number(pieceEnd - at) });
    at = pieceEnd;
  }
  return pieces;
}

const watch = ({ physical, length }: Piece): Watchpoint => ({
  kind: "write",
  space: "physical",
  address: physical,
  length,
});

async function readPieces(timeline: Timeline, pieces: readonly Piece[]): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const { physical, length } of pieces) {
    const bytes = await timeline.readPhysical(physical, length);
    if (bytes?.length !== length) {
      throw new VmtapeError("not-mapped", `there is no memory at physical ${hex(physical)}`, {
        address: physical,
      });
    }
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

/** Goes to where the bytes were written, and reads them before and after. */
async function look(
  timeline: Timeline,
  { instant, hits }: Meeting,
  bytes: () => Promise<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<Write> {
  await go(timeline, instant, signal);
  const { position } = timeline;
  const before = await bytes();
  await timeline.stepForward(1, signal);
  const { address, length, delivery } = hits.at(-1)!.access!;
  return { position, before, after: await bytes(), written: { address, length }, delivery };
}

/**
 * How the bytes changed without an instruction since the last write; without a write, since `since` or the tape's
 * start.
 */
async function unseenChange(
  timeline: Timeline,
  last: Write | undefined,
  since: Icount | undefined,
  bytes: () => Promise<Uint8Array>,
  now: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Pick<Past, "unseen">> {
  let was = last?.after;
  if (!was) {
    await go(timeline, { icount: since ?? icount(0) }, signal);
    was = await bytes();
  }
  if (Buffer.compare(was, now) === 0) return {};
  return { unseen: { after: last?.position.icount ?? since ?? icount(0), was, is: now } };
}

async function go(timeline: Timeline, instant: Instant, signal: AbortSignal | undefined): Promise<void> {
  throwIfCancelled(await timeline.goTo(instant, signal));
}
