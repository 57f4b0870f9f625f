import { readdirSync, readFileSync } from "node:fs";

/** How long each thread of a process has waited for a processor so far, in ns, by its id. */
export type RunDelays = ReadonlyMap<string, number>;

/** Of a machine that stands still for less than this nobody asks why. */
const brieflyMs = 1000;

/**
 * How long a machine has been standing still though it could have run. On a host with too much to do a QEMU may wait for a
 * processor longer than any patience; that is no fault of its tape.
 */
export class StallClock {
  private readonly delays: () => RunDelays;
  private since: number;
  private looked: { readonly at: number; readonly delays: RunDelays } | undefined;

  /**
   * @param delays of the machine's threads; see {@link runDelays}
   * @param now ms, as `performance.now`
   */
  constructor(delays: () => RunDelays, now: number) {
    this.delays = delays;
    this.since = now;
  }

  /** It has moved, or is not meant to. */
  moved(now: number): void {
    this.since = now;
    this.looked = undefined;
  }

  /** Ms of standing still, less those in which the thread that waited longest for a processor had none. */
  stalled(now: number): number {
    const ms = now - this.since;
    if (ms < brieflyMs) return ms;
    this.looked ??= { at: now, delays: this.delays() };
    const before = this.looked;
    if (now - before.at < brieflyMs) return ms;
    let waited = 0;
    for (const [thread, delay] of this.delays())
      waited = Math.max(waited, delay - (before.delays.get(thread) ?? delay));
    return ms - waited / 1e6;
  }
}

/**
 * From `/proc/PID/task/TID/schedstat`, whose second number it is; a thread that has just ended has none, nor has a kernel
 * without CONFIG_SCHED_INFO. Source: Linux, Documentation/scheduler/sched-stats.rst.
 */
export function runDelays(pid: number): RunDelays {
  const delays = new Map<string, number>();
  const directory = `/proc/${pid}/task`;
  try {
    for (const thread of readdirSync(directory)) {
      const [, delay] = readFileSync(`${directory}/${thread}/schedstat`, "latin1").split(" ");
      delays.set(thread, Number(delay));
    }
  } catch {
    // It is going away: whoever watches it will see that.
  }
  return delays;
}
