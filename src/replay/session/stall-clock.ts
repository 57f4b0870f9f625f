import { readdirSync, readFileSync } from "node:fs";

/** How long each thread of a process has waited for a processor so far, in ns, by thread id. */
export type RunDelays = ReadonlyMap<string, number>;

/** A machine that stands still for less than this is not looked into. */
const brieflyMs = 1000;

/**
 * Measures how long a machine has stood still though it could have run. On a busy host a QEMU may wait for a
 * processor for many seconds; that says nothing about its tape.
 */
export class StallClock {
  private readonly delays: () => RunDelays;
  private since: number;
  private looked: { readonly at: number; readonly delays: RunDelays } | undefined;

  /**
   * @param delays reads the delays of the machine's threads; see {@link runDelays}
   * @param now ms, as `performance.now`
   */
  constructor(delays: () => RunDelays, now: number) {
    this.delays = delays;
    this.since = now;
  }

  /** Notes that the machine has moved, or is paused. */
  moved(now: number): void {
    this.since = now;
    this.looked = undefined;
  }

  /**
   * The ms for which the machine has stood still, less those that the thread that waited longest spent without a
   * processor.
   */
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
 * Reads the delays of a process's threads: the second number of `/proc/PID/task/TID/schedstat`. A thread that has
 * just ended is left out; without CONFIG_SCHED_INFO all are. Source: Linux, Documentation/scheduler/sched-stats.rst.
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
    // The process is ending; the caller learns that elsewhere.
  }
  return delays;
}
