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
  /** Where checkpoints are left in passing (`tapeCache`). Without it, steps back far from a checkpoint stay slow. */
  readonly cache?: string;
  /** Sessions kept where they were left, in case somebody comes by again. Default 2. */
  readonly parked?: number;
}

/** What starting a session costs, as instructions a running one executes meanwhile. */
const startInstructions = 60_000_000n;
/** Steps back want a checkpoint no further before them than this, some 10 ms; one is left so far before them. */
const near = { most: 4_000_000n, left: 1_000_000n } as const;
/** While a disk's answer is on its way there can be no checkpoint: so many instructions later there may be one. */
const tooEarly = { step: 65_536n, most: 8n * 65_536n } as const;
/** A session of which nothing has been seen to move for so many seconds hangs. */
const patienceSeconds = 20;
/** How often a session that parts from its tape is replaced by another, and one that was killed or hung. */
const mostAttempts = { parted: 3, died: 10 } as const;

/**
 * The sessions of a timeline: gives one that stands at a wanted instant, from whichever place is nearest, and keeps
 * some that are not needed at the moment. A session whose QEMU dies or hangs is replaced, and the way gone again.
 */
export class SessionPool implements AsyncDisposable {
  private readonly tape: Tape;
  private readonly options: PoolOptions;
  private readonly parked: CountedSession[] = [];
  /** Sessions started ahead, at the checkpoint that the next steps back will want. */
  private readonly spares: { readonly from: CountedCheckpoint; readonly session: Promise<CountedSession> }[] =
    [];
  private readonly stopping = new AbortController();
  /** A checkpoint is being made for steps back. */
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
   * One more session at `instant`, from the nearest checkpoint, for work beside: those that are parked or ready stay, and nobody
   * is told how far it is. The caller owns it. See {@link at}.
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

  /** Takes back a session that is not needed now. */
  async park(session: CountedSession): Promise<void> {
    if (!session.alive) return session[Symbol.asyncDispose]();
    this.parked.push(session);
    while (this.parked.length > (this.options.parked ?? 2)) await this.parked.shift()![Symbol.asyncDispose]();
  }

  /**
   * Makes ready for steps back from `at`, beside whatever else goes on: a checkpoint shortly before it, and `count`
   * sessions that stand there.
   */
  expect(at: Icount, count: number): void {
    this.approaching ??= this.approach(at, count).then(
      () => {
        this.approaching = undefined;
      },
      () => {
        this.approaching = undefined; // steps back are slower then
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

  /** False when there is nowhere to leave it. */
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

  /** @param how `leaves`: it is to leave checkpoints. `shows`: somebody waits for it, and wants to see how far it is. */
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

/** The last checkpoint from which a step leads to `at`, so that the instant before it is known, too. */
function lastBefore(all: readonly CountedCheckpoint[], at: bigint): CountedCheckpoint | undefined {
  let last: CountedCheckpoint | undefined;
  for (const one of all) if (one.icount < at) last = one;
  return last;
}

/** Is it trouble of one QEMU, which another may not have? `attempt`: how many had some. */
export function isWorthAnother(error: unknown, attempt: number): boolean {
  if (!isVmtapeError(error)) return false;
  if (error.code === "diverged" || error.code === "inexact") return attempt < mostAttempts.parted;
  const died = error.code === "qemu-failed" || error.code === "qemu-hung" || error.code === "protocol-error";
  return died && attempt < mostAttempts.died;
}

/** Lets a session go somewhere, and ends its QEMU when it does not come back. */
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

/** Changes whenever the session gets on, by a run or by a step. */
function placeOf({ session, position }: CountedSession): string {
  return `${session.seen} ${position.icount} ${position.brctr}`;
}
