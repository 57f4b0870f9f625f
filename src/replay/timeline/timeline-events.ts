import type { Position } from "../session/position.js";
import type { Arrival } from "../session/timeline-types.js";

/** What a timeline tells while it is used, with what a listener is given. */
export interface TimelineEvents {
  /** It stands elsewhere than before, told once for each call that moved it, before the call settles. */
  readonly moved: [arrival: Arrival, from: Position];
  /** It has come to the tape's end; told after `moved`. */
  readonly ended: [position: Position];
  /** The QEMU that stood at this instant died or hung, and another one stands there. Nothing has moved. */
  readonly replaced: [position: Position, why: Error];
}
