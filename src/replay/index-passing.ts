import type { Icount } from "../base/units.js";
import type { PluginPosition } from "../qemu/plugin-channel.js";
import type { Tape } from "../tape/tape.js";
import type { Checkpoint } from "./checkpoint.js";
import { closest, defaultBudget } from "./index-spacing.js";
import { keepBudget } from "./index-thinning.js";
import type { Session } from "./session.js";
import type { TapeIndex } from "./tape-index.js";

/** Where the budget is used up, a checkpoint must be missed so many times as much as the others on average. */
const missedMore = 2;

/**
 * Leaves checkpoints in passing: for whoever runs through a tape for another purpose, with a session made with
 * `checkpointsTo`. The tape's budget is kept; the newest checkpoints stay.
 */
export class PassingIndex {
  private readonly tape: Tape;
  private readonly cache: string;
  private readonly index: TapeIndex;
  private storing: Promise<void> = Promise.resolve();

  /** @param cache the one that `index` was opened in, and the session leaves checkpoints in */
  constructor(tape: Tape, cache: string, index: TapeIndex) {
    this.tape = tape;
    this.cache = cache;
    this.index = index;
  }

  /** Bytes the tape's checkpoints may take. */
  get budget(): number {
    return this.index.budget ?? defaultBudget(this.tape.machine.memoryMB);
  }

  /** Would a checkpoint here be worth its some 60 ms and its room? Cost: a microsecond. */
  wants(at: Icount): boolean {
    const { allCheckpoints: all, bytes } = this.index;
    const here = Number(at);
    const end = Number(this.tape.end.at);
    let before = 0;
    let after = end;
    for (const one of all) {
      if (one.icount <= at) before = Number(one.icount);
      else after = Math.min(after, Number(one.icount));
    }
    if (here - before < closest || after - here < closest) return false;
    const last = all.at(-1)?.bytes ?? 0;
    return bytes + last <= this.budget || after - before > (missedMore * end) / (all.length + 1);
  }

  /**
   * Leaves one of the paused machine, which may go on when this resolves. It comes into the cache behind that
   * ({@link settle}), where room is made for it; what fails there, fails silently.
   *
   * @returns false when there can be none
   *
   * @param at what the plugin says of the machine (`PluginChannel.where`)
   */
  async leave(session: Session, at: PluginPosition): Promise<boolean> {
    await this.storing;
    try {
      const begun = await session.beginCheckpoint(at);
      this.storing = this.keep(session, begun.stored).catch(() => {});
      return true;
    } catch (error) {
      // A full disk, a cache that is gone or not ours, an instant that can have none: nothing is lost but time.
      if (session.state === "paused") return false;
      throw error;
    }
  }

  /** Waits until what was left is in the cache, and {@link TapeIndex} knows it. */
  settle(): Promise<void> {
    return this.storing;
  }

  private async keep(session: Session, stored: Promise<Checkpoint>): Promise<void> {
    await stored;
    await keepBudget(this.cache, session.build, { budget: this.budget, end: Number(this.tape.end.at) });
    await this.index.refresh();
  }
}
