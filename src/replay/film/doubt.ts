import { icount } from "../../base/units.js";
import type { Tape } from "../../tape/tape.js";
import { EventInstants } from "../session/event-instants.js";
import type { Film } from "./film.js";

/** Kinds of events at which devices may write to memory: answers of disks and networks, and timers. */
const meddling = [
  ...(["async-bh", "async-bh-oneshot", "async-input", "async-input-sync", "async-char-read"] as const),
  ...(["async-block", "async-net", "checkpoint-reset-requested", "checkpoint-suspend-requested"] as const),
  ...(["checkpoint-clock-virtual", "checkpoint-clock-host", "checkpoint-clock-virtual-rt"] as const),
] as const;

/** The instants of a tape at which devices may write to memory by themselves. Cost: one scan of its log. */
export function deviceInstants(tape: Tape): Promise<EventInstants> {
  return EventInstants.of(tape, meddling);
}

/** The index of a film's first instant at which such an event may have changed memory; its length when none may. */
export function unsureIndex(film: Film, events: EventInstants): number {
  const event = events.firstFrom(Number(film.from.icount));
  return Number.isFinite(event) ? film.indexFrom(icount(event)) : film.length;
}
