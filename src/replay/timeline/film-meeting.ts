import { guestAddress, type Icount, icount } from "../../base/units.js";
import type { ProbeHit } from "../../qemu/probe-hits.js";
import type { Film } from "../film/film.js";
import type { FilmAccess } from "../film/model.js";
import type { Meeting } from "../session/point-hits.js";
import type { StopPoint, Watchpoint } from "../session/timeline-types.js";

/** `none`: the film has no meeting. `unsure`: the film does not have what is needed to know that. */
export type FilmedMeeting = Meeting | "none" | "unsure";

/**
 * The last meeting with a point before an instant of a film, within the film.
 *
 * @param earliest meetings before this icount do not count
 */
export function lastFilmed(
  film: Film,
  index: number,
  points: readonly StopPoint[],
  earliest: Icount,
): FilmedMeeting {
  // Films have no reads.
  if (points.some(({ kind }) => kind === "read" || kind === "access")) return "unsure";
  const last = points.reduce((latest, point) => Math.max(latest, lastOf(film, index, point)), -1);
  if (last < 0 || film.position(last).icount < earliest) return "none";
  const met = [...points.entries()].filter(([, point]) => isMet(film, last, point));
  // Only the plugin can evaluate conditions.
  if (met.some(([, { condition }]) => condition !== undefined)) return "unsure";
  const { icount: at, pc } = film.position(last);
  return { instant: { icount: at, pc }, hits: met.map(([id, point]) => hitOf(film, last, id, point)) };
}

/** The last instant before `index` at which a point is met, whatever its condition; -1 when there is none. */
function lastOf(film: Film, index: number, point: StopPoint): number {
  if (point.kind === "execute") {
    let at = film.visitOf(guestAddress(point.address), index, "back");
    while (at !== undefined && film.isDelivery(at) && !executes(film, at)) {
      at = film.visitOf(guestAddress(point.address), at, "back");
    }
    return at ?? -1;
  }
  for (let at = index - 1; at >= 0; at--) if (isMet(film, at, point)) return at;
  return -1;
}

/**
 * Did the instruction at this instant begin to execute? It did not when an interrupt was delivered in place of it.
 */
const executes = (film: Film, index: number) => !film.isInferred(index);

function isMet(film: Film, index: number, point: StopPoint): boolean {
  if (point.kind === "execute") return film.pc(index) === point.address && executes(film, index);
  return film.hasAccess(index) && film.accesses(index).some((access) => touches(access, point));
}

function touches(access: FilmAccess, { space, address, length }: Watchpoint): boolean {
  if (!access.write) return false;
  const start = space === "virtual" ? access.address : access.physical;
  return start !== undefined && start < address + BigInt(length) && address < start + BigInt(access.length);
}

function hitOf(film: Film, index: number, id: number, point: StopPoint): ProbeHit {
  const { icount: at, brctr, pc, rep } = film.position(index);
  const access =
    point.kind === "execute" ? undefined : film.accesses(index).find((one) => touches(one, point));
  return {
    ...{ id, icount: icount(at), brctr, pc, rep, number: 0n, failed: false, stops: false },
    access: access && {
      ...{ address: access.address, physical: access.physical, length: access.length, write: true },
      delivery: film.isDelivery(index),
    },
  };
}
