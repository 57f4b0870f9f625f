import { VmtapeError } from "../../base/errors.js";
import { during } from "../../base/run-context.js";
import { type GuestAddress, guestAddress, icount } from "../../base/units.js";
import type { Tape } from "../../tape/tape.js";
import { beyondEnd } from "../session/beyond-end.js";
import { type CountedCheckpoint, withoutLost } from "../session/checkpoint.js";
import type { WrittenPosition } from "../session/position.js";
import { neverReached, type SoughtPoint, seekVisit } from "../session/seek-visit.js";
import type { Instant } from "../session/timeline-types.js";
import { earliestVisit, lastBefore } from "./first-visits.js";
import type { PoolOptions } from "./session-pool.js";

export interface LocateOptions extends PoolOptions {
  /** Gives the address of a symbol, or throws `not-found`. Needed for positions that name a symbol. */
  readonly addressOf?: (symbol: string) => bigint;
}

/**
 * The instant that a written position means. A place without a brctr means its first visit. Cost: one replay, from
 * the checkpoint before the visit where the tape is indexed or a brctr is given, else from the tape's start.
 *
 * @throws `not-found` for a symbol that does not exist; `not-reached`, with the nearest visits, for a place or visit
 *   that is not on the tape
 */
export async function locate(tape: Tape, written: WrittenPosition, options: LocateOptions): Promise<Instant> {
  switch (written.kind) {
    case "start":
      return { icount: icount(0) };
    case "end":
      return { icount: tape.end.at };
    case "icount":
      if (written.icount > tape.end.at) throw beyondEnd(written.icount, tape);
      return { icount: written.icount };
    default: {
      const address = placeOf(written, options);
      const { visit } = written;
      const point: SoughtPoint = visit ? { at: "visit", address, ...visit } : { at: "address", address };
      return seek(tape, point, options);
    }
  }
}

const unvisited = { count: 0n, before: undefined, after: undefined } as const;

/** The first instant with `brctr` records before it. */
export function locateBranch(
  tape: Tape,
  brctr: Extract<SoughtPoint, { at: "brctr" }>["brctr"],
  options: PoolOptions,
): Promise<Instant> {
  return seek(tape, { at: "brctr", brctr }, options);
}

function seek(tape: Tape, point: SoughtPoint, options: LocateOptions): Promise<Instant> {
  return withoutLost(() => seekOnce(tape, point, options));
}

async function seekOnce(tape: Tape, point: SoughtPoint, options: LocateOptions): Promise<Instant> {
  const checkpoints = await options.checkpoints();
  const from =
    point.at === "address"
      ? await beforeFirstVisit(tape, point, checkpoints, options)
      : lastBelow(checkpoints, point.brctr);
  const found = await seekVisit(tape, point, { ...during(options, "looking"), plugin: options.plugin, from });
  // QEMU may run on until its main loop sees the machine's end.
  if (found.icount > tape.end.at) throw neverReached(point, unvisited);
  return { icount: found.icount, ...(found.pc !== undefined && { pc: found.pc }) };
}

/**
 * The last checkpoint that certainly lies before the first visit to an address. The table of first visits only tells
 * where to begin; the visit itself is found by the replay from there.
 */
async function beforeFirstVisit(
  tape: Tape,
  point: Extract<SoughtPoint, { at: "address" }>,
  checkpoints: readonly CountedCheckpoint[],
  { cache }: LocateOptions,
): Promise<CountedCheckpoint | undefined> {
  if (cache === undefined) return undefined;
  const notBefore = await earliestVisit(tape, cache, point.address);
  if (notBefore === "never") throw neverReached(point, unvisited);
  return lastBefore(checkpoints, notBefore);
}

function lastBelow(all: readonly CountedCheckpoint[], brctr: bigint): CountedCheckpoint | undefined {
  let last: CountedCheckpoint | undefined;
  for (const one of all) if (one.brctr < brctr) last = one;
  return last;
}

function placeOf(
  written: Extract<WrittenPosition, { kind: "address" | "symbol" }>,
  { addressOf }: LocateOptions,
): GuestAddress {
  if (written.kind === "address") return written.address;
  if (!addressOf)
    throw new VmtapeError("not-found", `no symbols are known here, so '${written.name}' is not`);
  return guestAddress(addressOf(written.name));
}
