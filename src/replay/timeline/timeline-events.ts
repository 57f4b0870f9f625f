import type { Position } from "../session/position.js";
import type { Arrival } from "../session/timeline-types.js";

/** The events of a timeline, each with its listener's arguments. */
export interface TimelineEvents {
  /** It stands at another instant than before. Emitted once for each call that moved it, before that call settles. */
  readonly moved: [arrival: Arrival, from: Position];
  /** It has come to the tape's end. Emitted after `moved`. */
  readonly ended: [position: Position];
  /** The QEMU that stood at this instant died or hung, and another one stands there. Nothing has moved. */
  readonly replaced: [position: Position, why: Error];
}
