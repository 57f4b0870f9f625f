import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { type Icount, icount } from "../../base/units.js";
import { isTooEarly } from "../../qemu/snapshot.js";
import type { Tape } from "../../tape/tape.js";
import { leaveCheckpoint } from "../index/thinning.js";
import { type CountedCheckpoint, withoutLost } from "../session/checkpoint.js";
import { CountedSession, type CountedSessionOptions } from "../session/counted-session.js";
import type { Instant } from "../session/timeline-types.js";
import { farInstructions, travel } from "./travel.js";

export interface PoolOptions extends Omit<CountedSessionOptions, "from" | "checkpointsTo"> {
  /** The checkpoints there are now, in order. */
  readonly checkpoints: () => Promise<readonly CountedCheckpoint[]>;
  /**
   * The tape's cache (`tapeCache`), where sessions leave checkpoints on their way. Without it, steps back stay slow
   * wherever the checkpoint before them is far.
   */
  readonly cache?: string;
  /** How many sessions are kept where they were left, to be used again. Default 2. */
  readonly parked?: number;
}

/** The cost of starting a session, as the number of instructions that a running one executes meanwhile. */
const startInstructions = 60_000_000n;
/**
 * For steps back, a checkpoint should lie at most `most` instructions before them (some 10 ms of replay); where none
 * does, one is made `left` instructions before them.
 */
const near = { most: 4_000_000n, left: 1_000_000n } as const;
/**
 * No checkpoint can be made while a disk's answer or a packet is on its way: it is tried again every `step`
 * instructions, up to `most` later.
 */
const tooEarly = { step: 65_536n, most: 8n * 65_536n } as const;
/** A session that has not moved for so many seconds counts as hung. */
const patienceSeconds = 20;
/**
 * How many sessions are tried for one instant: `parted` when each does something else than its tape, `died` when each
 * is killed or hangs.
 */
const mostAttempts = { parted: 3, died: 10 } as const;

/**
 * The sessions of a timeline: it gives one that stands at a wanted instant, made from the nearest session or
 * checkpoint, and keeps some that are not needed at the moment (parked). A session whose QEMU dies or hangs is
 * replaced by another one that goes the same way.
 */
export class SessionPool implements AsyncDisposable {
  private readonly tape: Tape;
  private readonly options: PoolOptions;
  private readonly parked: CountedSession[] = [];
  /** Sessions that were started in advance, at the checkpoint from which the next steps back will begin. */
  private readonly spares: { readonly from: CountedCheckpoint; readonly session: Promise<CountedSession> }[] =
    [];
  private readonly stopping = new AbortController();
  /** The work of {@link expect}, while it is going on. */
  private approaching: Promise<void> | undefined;

  constructor(tape: Tape, options: PoolOptions) {
    this.tape = tape;
    this.options = options;
  }

  /**
   * A session that stands at `instant`; the caller owns it.
   *
   * @throws `cancelled`; `diverged`, `qemu-failed` when no session gets there
   */
  async at(instant: Instant, signal?: AbortSignal): Promise<CountedSession> {
    for (let attempt = 1; ; attempt++) {
      const session = await withoutLost(() => this.nearest(instant, signal, attempt > 1));
      try {
        const go = session.leavesCheckpoints ? travel : runTo;
        await withPatience(session, instant, () => go(session, instant, signal));
        return session;
      } catch (error) {
        if (isVmtapeError(error, "cancelled") && session.alive) {
          await this.park(session);
          throw error;
        }
        await session[Symbol.asyncDispose]();
        if (!isWorthAnother(error, attempt)) throw error;
      }
    }
  }

  /**
   * A new session that stands at `instant`, from the nearest checkpoint, for work in the background. It leaves parked
   * and spare sessions as they are, and reports no progress. The caller owns it. See {@link at}.
   */
  async another(instant: Instant, signal?: AbortSignal): Promise<CountedSession> {
    await this.approaching;
    for (let attempt = 1; ; attempt++) {
      const session = await withoutLost(async () => {
        const checkpoint = lastBefore(await this.options.checkpoints(), instant.icount);
        return this.start(checkpoint, { signal });
      });
      try {
        await withPatience(session, instant, () => session.runTo(instant, signal));
        return session;
      } catch (error) {
        await session[Symbol.asyncDispose]();
        if (!isWorthAnother(error, attempt)) throw error;
      }
    }
  }

  /**
   * Takes back a session that its caller does not need now. When more than `parked` are kept, the oldest is ended.
   */
  async park(session: CountedSession): Promise<void> {
    if (!session.alive) return session[Symbol.asyncDispose]();
    this.parked.push(session);
    while (this.parked.length > (this.options.parked ?? 2)) await this.parked.shift()![Symbol.asyncDispose]();
  }

  /**
   * Prepares for steps back from `at`, in the background: makes a checkpoint shortly before it, and starts `count`
   * sessions that stand there. Does nothing while an earlier preparation is going on.
   */
  expect(at: Icount, count: number): void {
    this.approaching ??= this.approach(at, count).then(
      () => {
        this.approaching = undefined;
      },
      () => {
        this.approaching = undefined; // without it steps back are only slower
      },
    );
  }

  private async approach(at: Icount, count: number): Promise<void> {
    let from = lastBefore(await this.options.checkpoints(), at);
    if (
      at - (from?.icount ?? 0n) > near.most &&
      (await withoutLost(() => this.leaveCheckpoint(at - near.left)))
    ) {
      from = lastBefore(await this.options.checkpoints(), at);
    }
    if (!from || this.stopping.signal.aborted) return;
    for (const spare of this.spares.filter((one) => one.from.icount !== from.icount)) this.drop(spare);
    while (this.spares.length < count) this.spares.push(this.startSpare(from));
  }

  /** Makes a checkpoint at `at`, or some instructions later. False when the pool has no cache to put it into. */
  private async leaveCheckpoint(at: bigint): Promise<boolean> {
    const { cache } = this.options;
    if (cache === undefined) return false;
    const from = lastBefore(await this.options.checkpoints(), at);
    const { signal } = this.stopping;
    await using session = await this.start(from, { signal, leaves: true });
    for (let later = 0n; ; later += tooEarly.step) {
      await session.runTo({ icount: icount(at + later) }, signal);
      try {
        await leaveCheckpoint(session);
        return true;
      } catch (error) {
        if (!isTooEarly(error) || later === tooEarly.most) throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping.abort();
    await this.approaching;
    const spares = this.spares.splice(0).map(({ session }) => session.then(dispose, ignore));
    await Promise.all([...this.parked.splice(0).map(dispose), ...spares]);
  }

  /** The session from which `instant` is reached soonest. */
  private async nearest(
    instant: Instant,
    signal: AbortSignal | undefined,
    fresh: boolean,
  ): Promise<CountedSession> {
    const checkpoint = lastBefore(await this.options.checkpoints(), instant.icount);
    const parked = fresh ? undefined : this.bestParked(instant);
    const start = (checkpoint?.icount ?? 0n) - startInstructions;
    const isFar = instant.icount - (checkpoint?.icount ?? 0n) > farInstructions;
    if (
      parked &&
      parked.position.icount >= start &&
      (!isFar || instant.icount - parked.position.icount < farInstructions)
    ) {
      this.parked.splice(this.parked.indexOf(parked), 1);
      return parked;
    }
    const spare = fresh ? undefined : this.spares.find(({ from }) => from.icount === checkpoint?.icount);
    if (spare) {
      this.spares.splice(this.spares.indexOf(spare), 1);
      try {
        return await spare.session;
      } catch {
        // another one
      }
    }
    return this.start(checkpoint, { signal, leaves: isFar, shows: true });
  }

  private bestParked(instant: Instant): CountedSession | undefined {
    let best: CountedSession | undefined;
    for (const one of this.parked) {
      const reachable = one.alive && one.isBefore(instant);
      if (reachable && (!best || one.position.icount > best.position.icount)) best = one;
    }
    return best;
  }

  /**
   * @param how `leaves`: the session can make checkpoints. `shows`: a user waits for it, so it reports its progress.
   */
  private start(
    from: CountedCheckpoint | undefined,
    how: { readonly signal: AbortSignal | undefined; readonly leaves?: boolean; readonly shows?: boolean },
  ): Promise<CountedSession> {
    const { plugin, qemu, debug, onProgress, cache } = this.options;
    return CountedSession.start(this.tape, {
      plugin,
      qemu,
      debug,
      onProgress: how.shows ? onProgress : undefined,
      signal: how.signal,
      checkpointsTo: how.leaves ? cache : undefined,
      from,
    });
  }

  private startSpare(from: CountedCheckpoint) {
    const spare = { from, session: this.start(from, { signal: this.stopping.signal }) };
    spare.session.catch(() => {
      const index = this.spares.indexOf(spare);
      if (index >= 0) this.spares.splice(index, 1);
    });
    return spare;
  }

  private drop(spare: (typeof this.spares)[number]): void {
    this.spares.splice(this.spares.indexOf(spare), 1);
    void spare.session.then(dispose, ignore);
  }
}

const dispose = (session: CountedSession) => session[Symbol.asyncDispose]();
const ignore = () => {};
const runTo = (session: CountedSession, to: Instant, signal?: AbortSignal) => session.runTo(to, signal);

/**
 * The last checkpoint before `at`, not at it: the session then comes to `at` by a step and knows the instant before
 * it.
 */
function lastBefore(all: readonly CountedCheckpoint[], at: bigint): CountedCheckpoint | undefined {
  let last: CountedCheckpoint | undefined;
  for (const one of all) if (one.icount < at) last = one;
  return last;
}

/** Is an error the trouble of one QEMU that another may not have? `attempt`: how many sessions have failed so far. */
export function isWorthAnother(error: unknown, attempt: number): boolean {
  if (!isVmtapeError(error)) return false;
  if (error.code === "diverged" || error.code === "inexact") return attempt < mostAttempts.parted;
  const died = error.code === "qemu-failed" || error.code === "qemu-hung" || error.code === "protocol-error";
  return died && attempt < mostAttempts.died;
}

/** Moves a session by `go`, and ends its QEMU when that hangs. */
async function withPatience(
  session: CountedSession,
  instant: Instant,
  go: () => Promise<unknown>,
): Promise<void> {
  let hung = false;
  let still = 0;
  let before = placeOf(session);
  const timer = setInterval(() => {
    const now = placeOf(session);
    still = now === before ? still + 1 : 0;
    before = now;
    if (still < patienceSeconds || hung) return;
    hung = true;
    void dispose(session);
  }, 1000);
  try {
    await go();
  } catch (error) {
    if (!hung) throw error;
    throw new VmtapeError(
      "qemu-hung",
      `QEMU stands still at icount ${session.session.seen} on its way to ${instant.icount} (for ${patienceSeconds} s)`,
      {},
      error,
    );
  } finally {
    clearInterval(timer);
  }
}

/** A text that changes whenever the session moves, by a run or by a step. */
function placeOf({ session, position }: CountedSession): string {
  return `${session.seen} ${position.icount} ${position.brctr}`;
}
