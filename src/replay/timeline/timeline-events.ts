import type { Position } from "../session/position.js";
import type { Arrival } from "../session/timeline-types.js";

/** What a timeline tells while it is used. */
export interface TimelineEvents {
  /** It stands elsewhere than before, told once for each call that moved it, before the call settles. */
  readonly moved: (arrival: Arrival, from: Position) => void;
  /** It has come to the tape's end; told after `moved`. */
  readonly ended: (position: Position) => void;
  /** The QEMU that stood at this instant died or hung, and another one stands there. Nothing has moved. */
  readonly replaced: (position: Position, why: Error) => void;
}

/** Listeners by event. Each is called in the order in which they came; what one throws is its caller's to see. */
export class EventListeners {
  private readonly listeners: { [Name in keyof TimelineEvents]: Set<TimelineEvents[Name]> } = {
    moved: new Set(),
    ended: new Set(),
    replaced: new Set(),
  };

  /** @returns takes the listener away; more than once does nothing more */
  add<Name extends keyof TimelineEvents>(name: Name, listener: TimelineEvents[Name]): () => void {
    // One that is added twice is called twice, and each call takes away its own.
    const own = ((...told: Parameters<TimelineEvents[Name]>) =>
      (listener as (...told: unknown[]) => void)(...told)) as TimelineEvents[Name];
    const all = this.listeners[name] as Set<TimelineEvents[Name]>;
    all.add(own);
    return () => void all.delete(own);
  }

  tell<Name extends keyof TimelineEvents>(name: Name, ...told: Parameters<TimelineEvents[Name]>): void {
    for (const listener of [...this.listeners[name]]) (listener as (...told: unknown[]) => void)(...told);
  }
}
