import type { PhysicalMemory } from "../../src/base/guest-memory.js";
import { physicalMemory } from "../../src/linux/guest/physical-memory.js";
import type { StoppedGuest } from "../../src/linux/guest/stopped-guest.js";
import { GuestRam } from "../../src/qemu/ram.js";
import type { Session } from "../../src/replay/session/session.js";

/** A paused session's memory, without its registers. Dispose it before the session moves. */
export class StoppedSession implements StoppedGuest, AsyncDisposable {
  readonly physical: PhysicalMemory;
  private readonly ram: GuestRam;

  private constructor(ram: GuestRam) {
    this.ram = ram;
    this.physical = physicalMemory(ram);
  }

  /** @throws `qemu-failed` when the session has no machine */
  static async of(session: Session): Promise<StoppedSession> {
    return new StoppedSession(await GuestRam.open(session.pid ?? 0));
  }

  register(): undefined {
    return undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.ram[Symbol.asyncDispose]();
  }
}
