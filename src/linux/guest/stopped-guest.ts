import type { PhysicalMemory } from "../../base/guest-memory.js";

/**
 * A machine that stands still, as this room looks at it: a paused session, or a timeline at an instant. Valid until
 * the machine moves.
 */
export interface StoppedGuest {
  readonly physical: PhysicalMemory;
  /** A register by its name in `qemu/x86-registers.ts`; undefined when whoever stopped the machine cannot tell. */
  register(name: string): bigint | undefined;
}
