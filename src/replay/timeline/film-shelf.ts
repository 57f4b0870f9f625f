import { isVmtapeError } from "../../base/errors.js";
import { linkedAbort, whenAborted } from "../../base/stopping.js";
import { type Icount, icount } from "../../base/units.js";
import type { PagedMemory } from "../../qemu/machine-memory.js";
import type { Tape } from "../../tape/tape.js";
import { deviceInstants, unsureIndex } from "../film/doubt.js";
import type { Film } from "../film/film.js";
import { FilmMemory } from "../film/memory.js";
import { takeFilm } from "../film/take.js";
import type { CountedSession } from "../session/counted-session.js";
import type { EventInstants } from "../session/event-instants.js";
import type { Position } from "../session/position.js";
import type { Instant } from "../session/timeline-types.js";
import { isWorthAnother, type SessionPool } from "./session-pool.js";

export interface FilmOptions {
  /** Bytes that films may take; 0: none are taken. Default: {@link defaultFilmBytes}. */
  readonly filmBytes?: number | undefined;
}

export const defaultFilmBytes = 256 * 2 ** 20;
/** So many instants before one that somebody looks at are filmed, and so many after it. */
const reach = { back: 100_000, forward: 2_000 } as const;
/** A film that would tell of memory for fewer instants than this begins before the event that ends what it can tell. */
const leastWithMemory = 2_000;
/** Some bytes an instant takes, while nothing is known of it. */
const guessedBytes = 64;
/** Films whose memory can be read at the same time: each keeps a session. */
const mostAnchors = 2;

/** An instant of a film, which stands for a session there. */
export interface Frame {
  readonly film: ShelvedFilm;
  readonly index: number;
}

/** A film that is kept, and the session that stands at its first instant once somebody has asked for memory. */
export class ShelvedFilm implements AsyncDisposable {
  readonly film: Film;
  private readonly unsureFrom: number;
  private readonly pool: SessionPool;
  private readonly stopping: AbortSignal;
  private anchor: Promise<{ readonly session: CountedSession; readonly memory: FilmMemory }> | undefined;

  constructor(film: Film, unsureFrom: number, pool: SessionPool, stopping: AbortSignal) {
    this.stopping = stopping;
    this.film = film;
    this.unsureFrom = unsureFrom;
    this.pool = pool;
  }

  get isAnchored(): boolean {
    return this.anchor !== undefined;
  }

  /** Memory at an instant; undefined where the film knows nothing of it. */
  async memoryAt(index: number): Promise<PagedMemory | undefined> {
    if (index >= this.unsureFrom) return undefined;
    this.anchor ??= this.drop();
    try {
      const { session, memory } = await this.anchor;
      if (session.alive) return memory.isSure(index) ? memory.at(index) : undefined;
      await session[Symbol.asyncDispose]();
    } catch {
      // another one, the next time
    }
    this.anchor = undefined;
    return undefined;
  }

  /** Lets the session go; it is made anew when it is needed again. */
  async release(): Promise<void> {
    const { anchor } = this;
    this.anchor = undefined;
    await anchor?.then(({ session }) => this.pool.park(session)).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.anchor?.then(({ session }) => session[Symbol.asyncDispose]()).catch(() => {});
  }

  private async drop() {
    const { icount: at, pc } = this.film.from;
    const session = await this.pool.another({ icount: at, pc }, this.stopping);
    const memory = new FilmMemory(
      this.film,
      (address, length) => session.readPhysical(address, length),
      this.unsureFrom,
    );
    return { session, memory };
  }
}

/** The films of a timeline: the latest ones, within a budget, and the one that is being taken. */
export class FilmShelf implements AsyncDisposable {
  private readonly tape: Tape;
  private readonly pool: SessionPool;
  private readonly budget: number;
  /** The one used last is the last. */
  private readonly films: ShelvedFilm[] = [];
  private events: Promise<EventInstants> | undefined;
  private taking: Taking | undefined;
  private readonly stopping = new AbortController();

  constructor(tape: Tape, pool: SessionPool, { filmBytes = defaultFilmBytes }: FilmOptions) {
    this.tape = tape;
    this.pool = pool;
    this.budget = filmBytes;
  }

  /**
   * The film that has an instant, with registers that are known there.
   *
   * @param step 1 or -1: it has the instant after or before as well
   */
  find(instant: Instant, step: 0 | 1 | -1 = 0): Frame | undefined {
    for (let i = this.films.length - 1; i >= 0; i--) {
      const film = this.films[i]!;
      const index = film.film.indexOf(instant);
      if (index === undefined || !isKnown(film.film, index) || !isKnown(film.film, index + step)) continue;
      this.films.push(...this.films.splice(i, 1));
      return { film, index };
    }
    return undefined;
  }

  /**
   * The film that has an instant and the one before it. One that is being taken is waited for.
   *
   * @param take one is taken when there is none
   */
  async before(instant: Instant, take: boolean, signal?: AbortSignal): Promise<Frame | undefined> {
    const found = this.find(instant, -1);
    if (found) return found;
    if (take && this.instants() > 0 && !this.taking?.covers(instant.icount)) this.begin(instant.icount);
    if (!this.taking?.covers(instant.icount)) return undefined;
    await untilEither(this.taking.done, signal);
    return this.find(instant, -1);
  }

  /** Takes the film that leads to an instant, beside whatever else goes on, unless there is one or one is being taken. */
  expect({ icount: at, pc }: Position): void {
    if (this.instants() === 0 || this.stopping.signal.aborted) return;
    const there = this.find({ icount: at, pc });
    // Near a film's start the one before it will be wanted next.
    if (there && (there.index > reach.back / 4 || there.film.film.from.icount === 0n)) return;
    const to = there ? there.film.film.from.icount : at;
    if (!this.taking?.covers(to)) this.begin(to);
  }

  /** Ends the film that is being taken. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping.abort();
    await this.taking?.done;
    await Promise.all(this.films.splice(0).map((film) => film[Symbol.asyncDispose]()));
  }

  /** Keeps few sessions at films' starts. */
  async anchored(film: ShelvedFilm): Promise<void> {
    const others = this.films.filter((one) => one !== film && one.isAnchored);
    while (others.length >= mostAnchors) await others.shift()!.release();
  }

  /** The instants at which devices may write to memory. */
  deviceEvents(): Promise<EventInstants> {
    this.events ??= deviceInstants(this.tape);
    return this.events;
  }

  /** How many instants a film may have. */
  private instants(): number {
    const room = Math.floor(this.budget / guessedBytes / 2);
    return room < 64 ? 0 : Math.min(reach.back, room);
  }

  private begin(near: Icount): void {
    this.taking?.abort.abort();
    this.taking = this.take(near);
  }

  private take(near: Icount): Taking {
    const abort = linkedAbort(this.stopping.signal);
    const back = BigInt(this.instants());
    const from = near > back ? near - back : 0n;
    const limit = this.tape.end.at - 1n;
    const forward = near + BigInt(reach.forward);
    const to = forward < limit ? forward : limit;
    const covers = (at: bigint) => at >= from && at <= to && !abort.signal.aborted;
    const done = this.makeFilm(icount(from), near, icount(to), abort.signal)
      .catch(() => {}) // steps are slower then
      .finally(() => {
        abort[Symbol.dispose]();
        if (this.taking?.done === done) this.taking = undefined;
      });
    return { abort, covers, done };
  }

  private async makeFilm(from: Icount, near: Icount, to: Icount, signal: AbortSignal): Promise<void> {
    if (to <= from) return;
    const events = await this.deviceEvents();
    const start = icount(BigInt(filmStart(events, Number(from), Number(near))));
    for (let attempt = 1; ; attempt++) {
      const session = await this.pool.another({ icount: start }, signal);
      try {
        const film = await takeFilm(session, { to, signal: signal });
        await this.pool.park(session);
        this.keep(film, events);
        return;
      } catch (error) {
        await session[Symbol.asyncDispose]();
        if (isVmtapeError(error, "cancelled") || !isWorthAnother(error, attempt)) throw error;
      }
    }
  }

  private keep(film: Film, events: EventInstants): void {
    this.films.push(new ShelvedFilm(film, unsureIndex(film, events), this.pool, this.stopping.signal));
    let sum = this.films.reduce((bytes, one) => bytes + one.film.bytes, 0);
    while (sum > this.budget && this.films.length > 1) {
      const oldest = this.films.shift()!;
      sum -= oldest.film.bytes;
      void oldest[Symbol.asyncDispose]();
    }
  }
}

/** Does a film have this instant, with registers that are known? */
export const isKnown = (film: Film, index: number) => index >= 0 && index < film.length && film.isSure(index);

interface Taking {
  readonly abort: AbortController;
  readonly done: Promise<void>;
  covers(at: bigint): boolean;
}

/** A film begins after the last event at which a device may have written, where that leaves enough of it. */
function filmStart(events: EventInstants, from: number, near: number): number {
  const before = events.lastBefore(near);
  return before >= from && near - before > leastWithMemory
    ? events.firstWithout(before)
    : events.firstWithout(from);
}

/** Resolves when the work is done, or the signal fires. */
async function untilEither(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  let fire = () => {};
  const fired = new Promise<void>((resolve) => {
    fire = resolve;
  });
  using _ = whenAborted(signal, fire);
  await Promise.race([work, fired]);
}
