import { type Brctr, type GuestAddress, type Icount, icount } from "../../base/units.js";
import type { Meeting } from "../session/point-hits.js";
import type { Position } from "../session/position.js";
import type { StopPoint } from "../session/timeline-types.js";
import type { Here } from "./run-back.js";

/**
 * Tells from a log of a tape's branches, without a replay, where an address may have been executed. Between two
 * branches the instructions follow each other in memory. So the address at which such a run of instructions begins
 * and the one at which it ends tell whether an address can have been executed in between.
 */
export interface VisitLog {
  /** The first and the last instant that the log covers. */
  readonly start: { readonly brctr: Brctr; readonly icount: Icount };
  readonly end: { readonly brctr: Brctr; readonly icount: Icount };
  /**
   * The latest run of instructions between two branches that may have executed one of the addresses. No later one up
   * to `before` has.
   *
   * @param before only runs with a `brctr` up to this are considered
   * @returns undefined when the log has none
   * @throws `cancelled`; `bad-file` when the log is damaged
   */
  lastVisit(
    addresses: readonly GuestAddress[],
    before: Brctr,
    signal?: AbortSignal,
  ): Promise<Visit | undefined>;
}

/** A run of instructions between two branches, which may have executed an address. */
export interface Visit {
  /** The icount of its first instruction, and that of the branch that ends it. */
  readonly from: Icount;
  readonly to: Icount;
  /** How many branches come before it. The last of them led to it. */
  readonly brctr: Brctr;
}

/**
 * An address in the middle of an instruction lies in many runs and is executed in none of them. After so many runs
 * whose replay had no hit, the log is not asked any more, and all that is left is replayed.
 */
const mostMisses = 8;

/** Can a log of branches tell where such points were met? It can for breakpoints without a condition. */
export function isLogged(points: readonly StopPoint[]): boolean {
  return points.length > 0 && points.every(({ kind, condition }) => kind === "execute" && !condition);
}

/**
 * The last meeting with any of the points before `here`. The log names a run of instructions that may have met one,
 * and only that run is replayed: this gives the exact instant, or shows that the run has no hit after all; then the
 * log is asked for the run before it. What the log does not cover is replayed.
 *
 * @param search replays from an icount (inclusive) to an instant, and gives the last meeting on the way
 */
export async function lastLogged(
  log: VisitLog,
  points: readonly StopPoint[],
  here: Here & Pick<Position, "brctr">,
  earliest: Icount,
  search: (to: Here, earliest: Icount) => Promise<Meeting | undefined>,
  signal?: AbortSignal,
): Promise<Meeting | undefined> {
  const addresses = points.map(({ address }) => address as GuestAddress);
  const { start, end } = log;
  let { brctr } = here;
  let to: Here = here;
  if (here.icount > end.icount) {
    const found = await search(here, later(earliest, end.icount));
    if (found || earliest >= end.icount) return found;
    brctr = end.brctr;
    to = instantAt(end.icount);
  }
  for (let misses = 0; to.icount > start.icount && misses < mostMisses; misses++) {
    const visit = await log.lastVisit(addresses, brctr, signal);
    if (!visit) {
      to = sooner(to, instantAt(start.icount));
      break;
    }
    to = sooner(to, instantAt(icount(visit.to + 1n)));
    if (visit.to < earliest) return undefined;
    const found = await search(to, later(earliest, visit.from));
    if (found) return found;
    brctr = (visit.brctr - 1n) as Brctr;
  }
  return to.icount > earliest ? search(to, earliest) : undefined;
}

/** The first instant of an icount, before all deliveries at it. */
function instantAt(at: Icount): Here {
  return { icount: at, pc: 0n as GuestAddress, delivered: 0n };
}

function sooner(a: Here, b: Here): Here {
  return b.icount < a.icount ? b : a;
}

function later(a: Icount, b: Icount): Icount {
  return a > b ? a : b;
}
