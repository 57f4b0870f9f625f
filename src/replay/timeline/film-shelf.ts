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
  /** The most bytes that films may take in memory; with 0 no films are made. Default: {@link defaultFilmBytes}. */
  readonly filmBytes?: number | undefined;
}

export const defaultFilmBytes = 256 * 2 ** 20;
/** How many instants before and after the one that is looked at are filmed. */
const reach = { back: 100_000, forward: 2_000 } as const;
/**
 * A film begins after the last event at which a device may have written to memory, so that it knows memory, unless it
 * would then have fewer instants than this before the wanted one.
 */
const leastWithMemory = 2_000;
/** The bytes of an instant that are assumed for planning. */
const guessedBytes = 64;
/** How many films keep a session, by which their memory can be read. */
const mostAnchors = 2;

/** An instant of a film. A timeline can stand there without a session. */
export interface Frame {
  readonly film: ShelvedFilm;
  readonly index: number;
}

/** A film that is kept. Once its memory is asked for, it also keeps a session at its first instant (the anchor). */
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

  /** Memory at an instant; undefined when the film does not know it. */
  async memoryAt(index: number): Promise<PagedMemory | undefined> {
    if (index >= this.unsureFrom) return undefined;
    this.anchor ??= this.drop();
    try {
      const { session, memory } = await this.anchor;
      if (session.alive) return memory.isSure(index) ? memory.at(index) : undefined;
      await session[Symbol.asyncDispose]();
    } catch {
      // the next call makes a new one
    }
    this.anchor = undefined;
    return undefined;
  }

  /** Gives the session back to the pool. A new one is made when it is needed again. */
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

/** The films of a timeline: those used latest, within a budget of memory, and the one that is being made. */
export class FilmShelf implements AsyncDisposable {
  private readonly tape: Tape;
  private readonly pool: SessionPool;
  private readonly budget: number;
  /** In the order of their last use. */
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
   * The film that has an instant with known registers.
   *
   * @param step 1 or -1: it must also have the instant after or before
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
   * The film that has an instant and the one before it. Waits for a film that is being made and will have them.
   *
   * @param take make a film when there is none
   */
  async before(instant: Instant, take: boolean, signal?: AbortSignal): Promise<Frame | undefined> {
    const found = this.find(instant, -1);
    if (found) return found;
    if (take && this.instants() > 0 && !this.taking?.covers(instant.icount)) this.begin(instant.icount);
    if (!this.taking?.covers(instant.icount)) return undefined;
    await untilEither(this.taking.done, signal);
    return this.find(instant, -1);
  }

  /** Makes the film that leads to an instant, in the background, unless there is one or it is being made. */
  expect({ icount: at, pc }: Position): void {
    if (this.instants() === 0 || this.stopping.signal.aborted) return;
    const there = this.find({ icount: at, pc });
    // Near the start of a film the film before it will be needed next, so that is made.
    if (there && (there.index > reach.back / 4 || there.film.film.from.icount === 0n)) return;
    const to = there ? there.film.film.from.icount : at;
    if (!this.taking?.covers(to)) this.begin(to);
  }

  /** Ends the film that is being made, and all sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping.abort();
    await this.taking?.done;
    await Promise.all(this.films.splice(0).map((film) => film[Symbol.asyncDispose]()));
  }

  /** Must be called before a film's memory is read. Releases sessions of other films when there are too many. */
  async anchored(film: ShelvedFilm): Promise<void> {
    const others = this.films.filter((one) => one !== film && one.isAnchored);
    while (others.length >= mostAnchors) await others.shift()!.release();
  }

  /** The instants of the tape at which devices may write to memory. */
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
      .catch(() => {}) // without it steps are only slower
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

/** Where a film begins: after the last event at which a device may have written, if that leaves enough instants. */
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
