import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { type GuestAddress, icount, type PhysicalAddress } from "../base/units.js";
import type { Tape } from "../tape/tape.js";
import { checkTape } from "./check-tape.js";
import type { CountedSession } from "./counted-session.js";
import { Gate } from "./gate.js";
import type { Position } from "./position.js";
import { type PoolOptions, SessionPool } from "./session-pool.js";
import type { Arrival, DebugTarget, Direction, Instant, PointId, StopPoint } from "./timeline-types.js";

export interface TimelineOptions extends PoolOptions {
  /** The tape's files were checked a moment ago. */
  readonly trusted?: boolean;
}

/** Sessions that are kept ready for the next steps back. */
const spareSessions = 2;
/** Longer ways back than this are made by counting instructions, and the last of them by single steps. */
const stepsOnFoot = 64;

/**
 * What a user holds of a tape: it stands at an instant, goes anywhere, both ways, and shows the machine there. It owns
 * the sessions that do the running; when a QEMU dies or hangs, another one goes there again.
 *
 * Calls are made one after another: a second one waits for the first. Each that moves takes an `AbortSignal`, and
 * settles within a second of its abort, `cancelled`, standing somewhere on the way.
 */
export class Timeline implements DebugTarget, AsyncDisposable {
  readonly tape: Tape;
  private readonly pool: SessionPool;
  private readonly gate = new Gate();
  private readonly points = new Map<PointId, StopPoint>();
  private nextPoint: PointId = 1;
  private session: CountedSession;

  private constructor(tape: Tape, pool: SessionPool, session: CountedSession) {
    this.tape = tape;
    this.pool = pool;
    this.session = session;
  }

  /**
   * Opens a tape at its start.
   *
   * @throws everything `checkTape` and `Session.create` throw
   */
  static async open(tape: Tape, options: TimelineOptions, signal?: AbortSignal): Promise<Timeline> {
    tape.requireComplete();
    if (!options.trusted) await checkTape(tape, signal);
    const pool = new SessionPool(tape, options);
    try {
      return new Timeline(tape, pool, await pool.at({ icount: icount(0) }, signal));
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  get position(): Position {
    return this.session.position;
  }

  goTo(instant: Instant, signal?: AbortSignal): Promise<Arrival> {
    return this.gate.enter(() => this.go(instant, signal));
  }

  stepForward(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.gate.enter(() => this.walk(count, signal));
  }

  stepBack(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.gate.enter(() => this.walkBack(count, signal));
  }

  run(_direction: Direction, _signal?: AbortSignal): Promise<Arrival> {
    throw new VmtapeError("usage", "not yet");
  }

  addPoint(point: StopPoint): PointId {
    const id = this.nextPoint++;
    this.points.set(id, point);
    return id;
  }

  removePoint(id: PointId): boolean {
    return this.points.delete(id);
  }

  registers(): Promise<Uint8Array> {
    return this.gate.enter(() => this.look((session) => session.registers()));
  }

  register(number: number): Promise<Uint8Array | undefined> {
    return this.gate.enter(() => this.look((session) => session.register(number)));
  }

  description(annex: string): Promise<string | undefined> {
    return this.gate.enter(() => this.look((session) => session.description(annex)));
  }

  readMemory(address: GuestAddress, length: number): Promise<Uint8Array | undefined> {
    return this.gate.enter(() => this.look((session) => session.readMemory(address, length)));
  }

  readPhysical(address: PhysicalAddress, length: number): Promise<Uint8Array | undefined> {
    return this.gate.enter(() => this.look((session) => session.readPhysical(address, length)));
  }

  /** Where a virtual address lies in physical memory now; undefined when it is not mapped. */
  translate(address: GuestAddress): Promise<bigint | undefined> {
    return this.gate.enter(() => this.look((session) => session.translate(address)));
  }

  /** Ends its sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    await this.pool[Symbol.asyncDispose]();
  }

  private async go(instant: Instant, signal?: AbortSignal): Promise<Arrival> {
    const { position } = this;
    const here = position.icount === instant.icount && position.pc === instant.pc;
    if (!here || !this.session.alive) {
      const arrived = await this.attempt(() => this.fetch(instant, signal));
      if (!arrived) return this.arrival("cancelled");
    }
    return this.arrival("reached");
  }

  /** Gets a session to an instant, and leaves the present one where it is. */
  private async fetch(instant: Instant, signal?: AbortSignal): Promise<void> {
    if (instant.icount > this.tape.end.at) {
      throw new VmtapeError(
        "not-reached",
        `icount ${instant.icount} lies beyond the tape's end at ${this.tape.end.at}`,
        {
          expected: `at most ${this.tape.end.at}`,
          got: String(instant.icount),
        },
      );
    }
    const left = this.session;
    await this.pool.park(left);
    try {
      this.session = await this.pool.at(instant, signal);
    } catch (error) {
      // Whatever has become of the way there, it stands where it stood.
      this.session = await this.pool.at(instantOf(left.position));
      throw error;
    }
  }

  private async walk(count: number, signal?: AbortSignal): Promise<Arrival> {
    for (let i = 0; i < count; i++) {
      if (signal?.aborted) return this.arrival("cancelled");
      if (this.position.icount >= this.tape.end.at) return this.arrival("end");
      await this.forward();
    }
    return this.arrival("reached");
  }

  /** One instant forward, even if the machine dies of it. */
  private async forward(): Promise<void> {
    const from = instantOf(this.position);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.session.step();
        return;
      } catch (error) {
        if (attempt === 3 || !isVmtapeError(error)) throw error;
        await this.session[Symbol.asyncDispose]();
        this.session = await this.pool.at(from);
      }
    }
  }

  private async walkBack(count: number, signal?: AbortSignal): Promise<Arrival> {
    let left = count;
    if (left > stepsOnFoot) {
      const arrived = await this.jumpBack(left, signal);
      return arrived ?? this.arrival("reached");
    }
    for (; left > 0; left--) {
      if (signal?.aborted) return this.arrival("cancelled");
      if (this.position.icount === 0n && !this.session.previous) return this.arrival("start");
      const previous = this.session.previous ?? (await this.learnPrevious(signal));
      const arrived = await this.attempt(() => this.fetch(previous, signal));
      if (!arrived) return this.arrival("cancelled");
      this.pool.expect(this.position.icount, spareSessions);
    }
    return this.arrival("reached");
  }

  /** Many instants back: goes further back, and lists the instants on the way here, since deliveries count, too. */
  private async jumpBack(count: number, signal?: AbortSignal): Promise<Arrival | undefined> {
    const here = instantOf(this.position);
    const earliest = here.icount > BigInt(count) ? here.icount - BigInt(count) : 0n;
    if (!(await this.attempt(() => this.fetch({ icount: icount(earliest) }, signal))))
      return this.arrival("cancelled");
    const passed: Instant[] = [];
    while (this.position.icount !== here.icount || this.position.pc !== here.pc) {
      if (signal?.aborted) return this.arrival("cancelled");
      passed.push(instantOf(this.position));
      await this.forward();
    }
    const target = passed.at(-count) ?? passed[0] ?? here;
    const reached = await this.attempt(() => this.fetch(target, signal));
    if (!reached) return this.arrival("cancelled");
    return passed.length < count ? this.arrival("start") : undefined;
  }

  /** The instant before this one, where the session did not come here by a step. */
  private async learnPrevious(signal?: AbortSignal): Promise<Instant> {
    const here = instantOf(this.position);
    const again = await this.pool.at(here, signal);
    await this.pool.park(this.session);
    this.session = again;
    if (!again.previous)
      throw new VmtapeError("not-reached", `nothing is known before icount ${here.icount}`);
    return again.previous;
  }

  /** False when it was cancelled. */
  private async attempt(go: () => Promise<void>): Promise<boolean> {
    try {
      await go();
      return true;
    } catch (error) {
      if (isVmtapeError(error, "cancelled")) return false;
      throw error;
    }
  }

  /** Looks at the machine here; if its QEMU has died meanwhile, at another one's. */
  private async look<T>(ask: (session: CountedSession) => Promise<T>): Promise<T> {
    try {
      return await ask(this.session);
    } catch (error) {
      if (this.session.alive || !isVmtapeError(error)) throw error;
      const here = instantOf(this.position);
      await this.session[Symbol.asyncDispose]();
      this.session = await this.pool.at(here);
      return ask(this.session);
    }
  }

  private arrival(why: Arrival["why"], points: readonly PointId[] = []): Arrival {
    return { position: this.position, why, points };
  }
}

function instantOf({ icount: at, pc }: Position): Instant {
  return { icount: at, pc };
}
