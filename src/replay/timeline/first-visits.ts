import type { GuestAddress } from "../../base/units.js";
import { firstVisit } from "../../formats/first-visits.js";
import type { Tape } from "../../tape/tape.js";
import { knownVisits } from "../index/visit-keeper.js";
import type { CountedCheckpoint } from "../session/checkpoint.js";

/**
 * What a tape's cache knows of the first visit to an address: an icount before which the code there is not executed,
 * or `never`. Where the tape is indexed, this is the icount of the first visit itself; otherwise it is the icount up
 * to which first visits are known.
 *
 * Cost: some 20 ms for a boot.
 */
export async function earliestVisit(
  tape: Tape,
  cache: string,
  address: GuestAddress,
): Promise<number | "never"> {
  const visits = await knownVisits(tape, cache);
  const end = Number(tape.end.at);
  const found = firstVisit(visits, address);
  if (found !== undefined && found <= end) return Math.min(found, visits.to);
  return visits.to >= end ? "never" : visits.to;
}

/** The last checkpoint that lies before every instant at an icount. */
export function lastBefore(all: readonly CountedCheckpoint[], at: number): CountedCheckpoint | undefined {
  return all.findLast((one) => Number(one.icount) < at);
}
