import { type Brctr, type GuestAddress, type Icount, icount } from "../../base/units.js";
import type { Meeting } from "../session/point-hits.js";
import type { Position } from "../session/position.js";
import type { StopPoint } from "../session/timeline-types.js";
import type { Here } from "./run-back.js";

/**
 * What is known of a tape's way without replaying it: a log of its branches. Between two branches instructions follow
 * each other in memory, so that a stretch tells by its ends whether it can have led through an address.
 */
export interface VisitLog {
  /** Of the first and the last instant it knows. */
  readonly start: { readonly brctr: Brctr; readonly icount: Icount };
  readonly end: { readonly brctr: Brctr; readonly icount: Icount };
  /**
   * The latest stretch between two branches that may have led through one of the addresses; no other after it has.
   *
   * @param before the stretch must have begun by this many branches of the tape
   * @returns undefined when there is none back to the log's start
   * @throws `cancelled`; `bad-file` when the log is damaged
   */
  lastVisit(
    addresses: readonly GuestAddress[],
    before: Brctr,
    signal?: AbortSignal,
  ): Promise<Visit | undefined>;
}

/** A stretch between two branches. */
export interface Visit {
  /** Of its first instruction, and of the branch that ends it. */
  readonly from: Icount;
  readonly to: Icount;
  /** Branches before it: the stretch before began with one less. */
  readonly brctr: Brctr;
}

/** An address in the middle of an instruction can be in many stretches: after so many in vain one looks for oneself. */
const mostInVain = 8;

/** Can a log of branches tell where such points were met? Those without a condition, on instructions. */
export function isLogged(points: readonly StopPoint[]): boolean {
  return points.length > 0 && points.every(({ kind, condition }) => kind === "execute" && !condition);
}

/**
 * The last meeting with any of the points before `here`: the log names the stretch, and only that is replayed, which
 * tells the exact instant, and whether the log was right. What the log does not cover is replayed.
 *
 * @param search replays from `earliest` (inclusive) to an instant, and gives the last meeting on the way
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
  for (let inVain = 0; to.icount > start.icount && inVain < mostInVain; inVain++) {
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

/** Before everything that happens at an icount. */
function instantAt(at: Icount): Here {
  return { icount: at, pc: 0n as GuestAddress, delivered: 0n };
}

function sooner(a: Here, b: Here): Here {
  return b.icount < a.icount ? b : a;
}

function later(a: Icount, b: Icount): Icount {
  return a > b ? a : b;
}
