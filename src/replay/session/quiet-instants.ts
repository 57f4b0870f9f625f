import type { Icount } from "../../base/units.js";
import type { Tape } from "../../tape/tape.js";
import { EventInstants } from "./event-instants.js";

/** Kinds of events that change registers or memory at their instant. */
const changing = [
  "interrupt",
  "exception",
  "async-bh",
  "async-bh-oneshot",
  "async-block",
  "async-net",
] as const;

/**
 * Those of `instants` at which there is a delivery: an interrupt, an exception, a disk's answer or a packet with the
 * same icount. Without the guard, `replay-break` stops there either before or after the delivery (measured with QEMU
 * 7.2 and 10.0: about half each), so states there cannot be compared. A halted guest waits at such an instant.
 *
 * Cost: one scan of the log, about 500 MB/s.
 */
export async function deliveringInstants(tape: Tape, instants: readonly Icount[]): Promise<Set<Icount>> {
  const delivering = new Set<Icount>();
  const events = await EventInstants.of(tape, changing);
  for (const at of instants) if (events.firstFrom(Number(at)) === Number(at)) delivering.add(at);
  return delivering;
}

/**
 * Finds icounts at which there is no delivery and the host's clock is not read, where a snapshot can be taken.
 * (Saving a snapshot reads that clock, and would take its recorded value.)
 */
export class QuietInstants {
  private readonly events: EventInstants;

  private constructor(events: EventInstants) {
    this.events = events;
  }

  /** Cost: that of {@link EventInstants.of}. */
  static async of(tape: Tape): Promise<QuietInstants> {
    return new QuietInstants(await EventInstants.of(tape, [...changing, "clock-host"]));
  }

  /** The first such icount at or after `at`. */
  from(at: number): number {
    return this.events.firstWithout(at);
  }
}
