import { EventEmitter } from "node:events";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { during, type Stoppable } from "../../base/run-context.js";
import { brctr, type GuestAddress, type Icount, icount, type PhysicalAddress } from "../../base/units.js";
import type { PagedMemory } from "../../qemu/machine-memory.js";
import type { MappedRange } from "../../qemu/x86-paging.js";
import { x86Registers } from "../../qemu/x86-registers.js";
import type { Tape } from "../../tape/tape.js";
import { watchedRegister } from "../film/changes.js";
import { UnsureError } from "../film/memory.js";
import type { RegisterStep } from "../film/model.js";
import type { Step } from "../film/step.js";
import { type StepsOptions, steps } from "../film/steps.js";
import { beyondEnd } from "../session/beyond-end.js";
import { checkTape } from "../session/check-tape.js";
import type { CountedSession } from "../session/counted-session.js";
import { accessOf, type Meeting, mayAskForBranches } from "../session/point-hits.js";
import { comparePositions, type Position } from "../session/position.js";
import type {
  Arrival,
  DebugTarget,
  Direction,
  Instant,
  PointId,
  StopPoint,
} from "../session/timeline-types.js";
import { lastFilmed } from "./film-meeting.js";
import { type FilmOptions, FilmShelf, type Frame, isKnown } from "./film-shelf.js";
import { lastRegisterChange } from "./last-change.js";
import { locateBranch } from "./locate.js";
import { Mutex } from "./mutex.js";
import { allMeetings, type Here, lastMeeting, type RunBackOptions } from "./run-back.js";
import { runForward, stepForward } from "./run-forward.js";
import { isWorthAnother, type PoolOptions, SessionPool } from "./session-pool.js";
import type { TimelineEvents } from "./timeline-events.js";
import { isLogged, lastLogged, type VisitLog } from "./visit-log.js";

export interface TimelineOptions extends PoolOptions, FilmOptions {
  /** Skip checking the tape's files, because the caller has just done so. Default false. */
  readonly trusted?: boolean;
  /** A log of the tape's branches, in which running back to breakpoints looks first. */
  readonly visits?: VisitLog | undefined;
  /** Where the timeline stands once it is open. Default: the tape's start. */
  readonly from?: Instant | undefined;
}

/** The sessions of a timeline. */
export interface TimelineParts {
  readonly pool: SessionPool;
  readonly session: CountedSession;
}

type CountedHere = Here & Pick<Position, "brctr">;

/** The points of one run: a hit names its point by its place in the list, a user by its id. */
interface PointSet {
  readonly ids: readonly PointId[];
  readonly points: readonly StopPoint[];
}

/** How many sessions are kept ready for the next steps back. */
const spareSessions = 2;
/**
 * Without a film, up to so many instants back are taken one by one, which costs a session each; more of them by
 * `jumpBack`.
 */
const mostSingleSteps = 64;

/**
 * A tape that can be moved through in both directions. A timeline stands at one instant and shows the machine there.
 * It owns the sessions that replay; when a QEMU dies or hangs, another one is brought to the same instant.
 *
 * Calls are served one at a time, in order. A call that moves takes an `AbortSignal`; when that is aborted, it
 * settles within a second as `cancelled`, and the timeline stands somewhere on the way.
 */
export class Timeline implements DebugTarget, AsyncDisposable {
  readonly tape: Tape;
  private readonly pool: SessionPool;
  private readonly mutex = new Mutex();
  private readonly points = new Map<PointId, StopPoint>();
  private nextPoint: PointId = 1;
  private readonly marked = new Map<string, Position>();
  private readonly events = new EventEmitter<{
    [Name in keyof TimelineEvents]: TimelineEvents[Name];
  }>().setMaxListeners(0);
  protected readonly options: TimelineOptions;
  private readonly films: FilmShelf;
  private session: CountedSession;
  /** The instant at which it stands, when that is in a film; the session stands elsewhere then. */
  private frame: Frame | undefined;

  /** @param parts from {@link begin} */
  protected constructor(tape: Tape, options: TimelineOptions, { pool, session }: TimelineParts) {
    this.tape = tape;
    this.options = options;
    this.pool = pool;
    this.session = session;
    this.films = new FilmShelf(tape, pool, options);
  }

  /**
   * Opens a tape. The options' `signal` cancels only the opening.
   *
   * @throws everything `checkTape` and `Session.create` throw
   */
  static async open(tape: Tape, options: TimelineOptions): Promise<Timeline> {
    return new Timeline(tape, options, await Timeline.begin(tape, options));
  }

  /** Checks the tape and makes the sessions of a new timeline. */
  protected static async begin(tape: Tape, options: TimelineOptions): Promise<TimelineParts> {
    const { from = { icount: icount(0) }, signal } = options;
    tape.requireComplete();
    if (from.icount > tape.end.at) throw beyondEnd(from.icount, tape);
    if (!options.trusted) await checkTape(tape, signal);
    const pool = new SessionPool(tape, options);
    try {
      return { pool, session: await pool.at(from, signal) };
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  get position(): Position {
    return this.frame ? this.frame.film.film.position(this.frame.index) : this.session.position;
  }

  /** Process id of the QEMU that stands here, while there is one. */
  get pid(): number | undefined {
    return this.frame ? undefined : this.session.session.pid;
  }

  /**
   * Calls `listener` at each event of this name. The function that is returned ends that.
   *
   * ```ts
   * const stop = timeline.on("moved", ({ position }) => console.log(position.icount));
   * ```
   */
  on<Name extends keyof TimelineEvents>(
    name: Name,
    listener: (...told: TimelineEvents[Name]) => void,
  ): () => void {
    const own = (...told: TimelineEvents[Name]) => listener(...told); // a function that is added twice counts as two
    this.events.on(name, own as never);
    return () => void this.events.off(name, own as never);
  }

  goTo(instant: Instant, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.go(instant, signal));
  }

  stepForward(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.walk(count, signal));
  }

  stepBack(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.walkBack(count, signal));
  }

  /**
   * Goes forward by `count` branch records, or back when it is negative: to the first instant with that brctr, or to
   * the tape's start or end. Cost: two replays from the checkpoint before it.
   */
  stepBranches(count: number, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.leap(this.position.brctr + BigInt(count), signal));
  }

  /**
   * Names the present instant, so that {@link goToMark} can come back to it. A name that was used before gets the new
   * meaning.
   */
  mark(name: string): Position {
    this.marked.set(name, this.position);
    return this.position;
  }

  /** The instants that {@link mark} has named, by their names. */
  get marks(): ReadonlyMap<string, Position> {
    return this.marked;
  }

  /** @throws `not-found` when no instant has this name */
  async goToMark(name: string, signal?: AbortSignal): Promise<Arrival> {
    const position = this.marked.get(name);
    if (!position) throw new VmtapeError("not-found", `no instant is marked '${name}'`, { got: name });
    return this.goTo(instantOf(position), signal);
  }

  run(direction: Direction, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() =>
      direction === "forward" ? this.onward(this.tape.end.at, signal) : this.backward(icount(0), signal),
    );
  }

  /** Runs forward until a point is met, or to an icount. */
  runTo(limit: Icount, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.onward(limit, signal));
  }

  /** Runs back until a point is met, or to an icount. */
  runBackTo(limit: Icount, signal?: AbortSignal): Promise<Arrival> {
    return this.move(() => this.backward(limit, signal));
  }

  /**
   * Sets a point for all runs and steps that begin later. A run that is under way does not see it.
   */
  addPoint(point: StopPoint): PointId {
    const id = this.nextPoint++;
    this.points.set(id, point);
    return id;
  }

  /** Removes a point for all runs and steps that begin later. False when there is no point of this id. */
  removePoint(id: PointId): boolean {
    return this.points.delete(id);
  }

  registers(): Promise<Uint8Array> {
    return this.mutex.lock(async () => this.filmed() ?? this.look((session) => session.registers()));
  }

  register(number: number): Promise<Uint8Array | undefined> {
    return this.mutex.lock(async () => {
      const known = x86Registers[number];
      const block = known && this.filmed();
      if (block) return block.subarray(known.offset, known.offset + known.bytes);
      return this.look((session) => session.register(number));
    });
  }

  description(annex: string): Promise<string | undefined> {
    // The description is the same at all instants, so any will do.
    return this.mutex.lock(() =>
      this.again(instantOf(this.session.position), () => this.session.description(annex)),
    );
  }

  readMemory(address: GuestAddress, length: number): Promise<Uint8Array | undefined> {
    return this.mutex.lock(() =>
      this.read(
        (memory, registers) => memory.read(registers, address, length),
        (session) => session.readMemory(address, length),
      ),
    );
  }

  readPhysical(address: PhysicalAddress, length: number): Promise<Uint8Array | undefined> {
    return this.mutex.lock(() =>
      this.read(
        (memory) => memory.readPhysical(address, length),
        (session) => session.readPhysical(address, length),
      ),
    );
  }

  mappedRange(address: GuestAddress): Promise<MappedRange> {
    return this.mutex.lock(() =>
      this.read(
        (memory, registers) => memory.mappedRange(registers, address),
        (session) => session.mappedRange(address),
      ),
    );
  }

  /**
   * The last meeting with any of `points` before this instant, without going there. Neither the timeline's own points
   * nor hits before `since` count.
   *
   * @throws `cancelled`
   */
  lastMeeting(
    points: readonly StopPoint[],
    since: Icount,
    signal?: AbortSignal,
  ): Promise<Meeting | undefined> {
    return this.mutex.lock(() =>
      lastMeeting(this.tape, this.here(), points, this.scanning(points, signal), since),
    );
  }

  /** The latest `most` meetings with any of `points` between `earliest` and this instant, in order. */
  meetings(
    points: readonly StopPoint[],
    range: { readonly earliest: Icount; readonly most: number },
    signal?: AbortSignal,
  ): Promise<Meeting[]> {
    return this.mutex.lock(() =>
      allMeetings(this.tape, this.here(), points, this.scanning(points, signal), range),
    );
  }

  /**
   * The last instruction or delivery of the tape before this instant that changed a register. The timeline stays
   * here.
   *
   * Cost: a replay of the stretch since the change, which takes some 3 times as long as a plain one, for general
   * registers and flags some 10 times. Within a film it is negligible.
   *
   * @param name a register of the `g` block, but not `rip`
   * @returns undefined when it has not changed since the tape's start
   * @throws `usage` for other names; `cancelled`
   */
  lastRegisterChange(name: string, { signal }: Stoppable = {}): Promise<RegisterStep | undefined> {
    return this.mutex.lock(async () => {
      watchedRegister(name);
      const frame = this.frame ?? this.films.find(instantOf(this.position), -1);
      const filmed = frame?.film.film.lastChange(name, frame.index);
      if (filmed) return filmed;
      return lastRegisterChange(this.tape, this.here(), name, this.scanning([], signal));
    });
  }

  /**
   * Yields all steps between two icounts, in order: what was executed, which registers it changed, what it wrote and,
   * on request, what it read. The timeline stays where it is. The memory needed does not depend on the distance,
   * since the replay waits for a slow reader.
   *
   * Cost: some 2 µs a step, after the replay to the first one; with `before` some 100 µs for a step that touches
   * memory.
   *
   * ```ts
   * for await (const { position, registers } of timeline.steps({ from: icount(1000), to: icount(2000) })) {
   * console.log(position.pc, registers.map(({ name }) => name)); }
   * ```
   *
   * @throws `not-reached` beyond the tape's end; `cancelled`; everything `Session.runTo` throws
   */
  async *steps(options: StepsOptions): AsyncGenerator<Step> {
    if (options.to > this.tape.end.at) throw beyondEnd(options.to, this.tape);
    const events = await this.films.deviceEvents();
    yield* steps((at) => this.pool.another({ icount: at }, options.signal), events, options);
  }

  /** Whether the code at this instant is 16, 32 or 64-bit code. */
  codeSize(): Promise<16 | 32 | 64> {
    return this.mutex.lock(() => this.look((session) => session.codeSize()));
  }

  /** The physical address of a virtual one at this instant; undefined when it is not mapped. */
  translate(address: GuestAddress): Promise<bigint | undefined> {
    return this.mutex.lock(() =>
      this.read(
        (memory, registers) => memory.translate(registers, address),
        (session) => session.translate(address),
      ),
    );
  }

  /** Ends all its sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.films[Symbol.asyncDispose]();
    await this.session[Symbol.asyncDispose]();
    await this.pool[Symbol.asyncDispose]();
  }

  /** Calls `go` when all calls before it have settled, and emits the events of its move. */
  private move(go: () => Promise<Arrival>): Promise<Arrival> {
    return this.mutex.lock(async () => {
      const from = this.position;
      const arrival = await go();
      const { position } = arrival;
      const moved = comparePositions(from, position) !== 0 || from.pc !== position.pc;
      if (moved) this.events.emit("moved", arrival, from);
      if (moved && position.icount >= this.tape.end.at) this.events.emit("ended", position);
      return arrival;
    });
  }

  private async go(instant: Instant, signal?: AbortSignal): Promise<Arrival> {
    const { position } = this;
    const here = position.icount === instant.icount && position.pc === instant.pc;
    if (here && this.frame) return this.arrival("reached");
    const frame = here ? undefined : this.films.find(instant);
    if (frame) {
      this.frame = frame;
      return this.arrival("reached");
    }
    if (!here || !this.session.alive) {
      const arrived = await this.attempt(() => this.fetch(instant, signal));
      if (arrived === "cancelled") return this.arrival("cancelled");
    }
    return this.arrival("reached");
  }

  private async leap(branches: bigint, signal?: AbortSignal): Promise<Arrival> {
    if (branches === this.position.brctr) return this.arrival("reached");
    if (branches < 0n) {
      const gone = await this.go({ icount: icount(0) }, signal);
      return gone.why === "cancelled" ? gone : this.arrival("start");
    }
    const found = await this.attempt(() =>
      locateBranch(this.tape, brctr(branches), { ...this.options, signal }).catch((error: unknown) => {
        if (!isVmtapeError(error, "not-reached")) throw error;
        return undefined; // the tape has fewer records
      }),
    );
    if (found === "cancelled") return this.arrival("cancelled");
    const gone = await this.go(found ?? { icount: this.tape.end.at }, signal);
    return found || gone.why === "cancelled" ? gone : this.arrival("end");
  }

  /** Parks the present session and takes one that stands at `instant`. */
  private async fetch(instant: Instant, signal?: AbortSignal): Promise<void> {
    if (instant.icount > this.tape.end.at) throw beyondEnd(instant.icount, this.tape);
    const left = this.session;
    await this.pool.park(left);
    try {
      this.session = await this.pool.at(instant, signal);
      this.frame = undefined;
    } catch (error) {
      // The timeline stays at its old instant, whatever failed on the way to the new one.
      this.session = await this.pool.at(instantOf(left.position));
      throw error;
    }
  }

  /** Brings the session to the instant at which the timeline stands, when that is in a film. */
  private async land(signal?: AbortSignal): Promise<void> {
    if (this.frame) await this.fetch(instantOf(this.position), signal);
  }

  /** The registers at this instant from the film; undefined when it does not stand in one. */
  private filmed(): Uint8Array | undefined {
    return this.frame?.film.film.registers(this.frame.index);
  }

  /**
   * Reads memory from the film in which it stands; when that does not know it, or there is no film, from a session.
   */
  private async read<T>(
    filmed: (memory: PagedMemory, registers: Uint8Array) => Promise<T>,
    ask: (session: CountedSession) => Promise<T>,
  ): Promise<T> {
    if (this.frame) {
      const { film, index } = this.frame;
      await this.films.anchored(film);
      const memory = await film.memoryAt(index);
      try {
        if (memory) return await filmed(memory, film.film.registers(index));
      } catch (error) {
        if (!(error instanceof UnsureError) && !isVmtapeError(error, "qemu-failed")) throw error;
      }
    }
    return this.look(ask);
  }

  private async onward(limit: Icount, signal?: AbortSignal): Promise<Arrival> {
    const { end } = this.tape;
    if (this.position.icount >= end.at) return this.arrival("end");
    if (limit <= this.position.icount) return this.arrival("reached");
    const target = limit < end.at ? limit : end.at;
    const set = this.pointsNow();
    if ((await this.attempt(() => this.land(signal))) === "cancelled") return this.arrival("cancelled");
    const from = instantOf(this.position);
    const found = await this.attempt(() =>
      this.again(from, () => runForward(this.session, set.points, target, signal)),
    );
    if (found === "cancelled") return this.arrival("cancelled");
    if (!found) return this.arrival(target === end.at ? "end" : "reached");
    return this.meet(found, set, signal);
  }

  private async backward(earliest: Icount, signal?: AbortSignal): Promise<Arrival> {
    const set = this.pointsNow();
    const { points } = set;
    const here = this.here();
    if (here.icount <= earliest && here.delivered === 0n) return this.arrival(whyAt(earliest));
    const found = await this.attempt(() =>
      points.length === 0 ? nothing : this.lastMet(here, points, earliest, signal),
    );
    if (found === "cancelled") return this.arrival("cancelled");
    if (found) {
      const arrival = await this.meet(found, set, signal);
      this.pool.expect(this.position.icount, 1);
      return arrival;
    }
    const arrived = await this.attempt(() => this.fetch({ icount: earliest }, signal));
    return this.arrival(arrived === "cancelled" ? "cancelled" : whyAt(earliest));
  }

  /** Searches first in the film in which it stands, then in the tape before the film. */
  private async lastMet(
    here: CountedHere,
    points: readonly StopPoint[],
    earliest: Icount,
    signal?: AbortSignal,
  ): Promise<Meeting | undefined> {
    const frame = this.frame ?? this.films.find(instantOf(this.position));
    const filmed = frame ? lastFilmed(frame.film.film, frame.index, points, earliest) : "unsure";
    if (!frame || filmed === "unsure") return this.searchBack(here, points, earliest, signal);
    if (filmed !== "none") return filmed;
    const { film } = frame.film;
    const { icount: at, pc } = film.from;
    const start = { icount: at, pc, brctr: film.from.brctr, delivered: film.delivered(0) };
    return at <= earliest && start.delivered === 0n
      ? undefined
      : this.searchBack(start, points, earliest, signal);
  }

  private searchBack(
    here: CountedHere,
    points: readonly StopPoint[],
    earliest: Icount,
    signal?: AbortSignal,
  ): Promise<Meeting | undefined> {
    const options = this.scanning(points, signal);
    const search = (to: Here, since: Icount) => lastMeeting(this.tape, to, points, options, since);
    const { visits } = this.options;
    if (!visits || !isLogged(points)) return search(here, earliest);
    return lastLogged(visits, points, here, earliest, search, signal);
  }

  /** Goes to the instant of a meeting. */
  private async meet({ instant, hits }: Meeting, set: PointSet, signal?: AbortSignal): Promise<Arrival> {
    const arrived = await this.attempt(() => this.fetch(instant, signal));
    if (arrived === "cancelled") return this.arrival("cancelled");
    const { pc } = this.position;
    const met = hits.filter((hit) => hit.access || hit.pc === pc);
    const access = met.map(accessOf).find((one) => one !== undefined);
    const points = [...new Set(met.map(({ id }) => set.ids[id]!))];
    return { ...this.arrival("point", points), ...(access && { access }) };
  }

  private scanning(points: readonly StopPoint[], signal: AbortSignal | undefined): RunBackOptions {
    const { plugin, checkpoints } = this.options;
    return {
      ...during(this.options, "looking back"),
      signal,
      plugin,
      checkpoints,
      // What the processor writes when it delivers an interrupt is only seen where branches are followed.
      follow: mayAskForBranches(points) || points.some(({ kind }) => kind !== "execute"),
    };
  }

  private async walk(count: number, signal?: AbortSignal): Promise<Arrival> {
    for (let i = 0; i < count; i++) {
      if (signal?.aborted) return this.arrival("cancelled");
      if (this.position.icount >= this.tape.end.at) return this.arrival("end");
      const set = this.pointsNow();
      if (set.points.every(({ kind }) => kind === "execute") && this.turn(1)) continue;
      if ((await this.attempt(() => this.land(signal))) === "cancelled") return this.arrival("cancelled");
      const met = await this.forward(set.points);
      if (met) return this.meet(met, set, signal);
    }
    return this.arrival("reached");
  }

  /**
   * Goes to the next instant (1) or the one before (-1) within a film. False when no film has it with known
   * registers.
   */
  private turn(step: 1 | -1): boolean {
    const { frame } = this;
    const next = frame && frame.index + step;
    if (frame && next !== undefined && isKnown(frame.film.film, next)) {
      this.frame = { film: frame.film, index: next };
      return true;
    }
    const other = this.films.find(instantOf(this.position), step);
    if (other) this.frame = { film: other.film, index: other.index + step };
    return other !== undefined;
  }

  /** Moves one instant forward. Gives the watchpoints that were met. */
  private forward(points: readonly StopPoint[]): Promise<Meeting | undefined> {
    return this.again(instantOf(this.position), () => stepForward(this.session, points));
  }

  private here(): CountedHere {
    const { position, session, frame } = this;
    const delivered = frame ? frame.film.film.delivered(frame.index) : session.deliveries;
    return { icount: position.icount, pc: position.pc, brctr: position.brctr, delivered };
  }

  private pointsNow(): PointSet {
    return { ids: [...this.points.keys()], points: [...this.points.values()] };
  }

  /**
   * Does `work` with the session, which stands at `from`. When its QEMU dies or hangs, does it again with another
   * session at `from`.
   */
  private async again<T>(from: Instant, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isWorthAnother(error, attempt)) throw error;
        await this.session[Symbol.asyncDispose]();
        this.session = await this.pool.at(from);
        this.events.emit("replaced", this.position, error as Error);
      }
    }
  }

  private async walkBack(count: number, signal?: AbortSignal): Promise<Arrival> {
    for (let left = count; left > 0; left--) {
      if (signal?.aborted) return this.arrival("cancelled");
      if (this.turn(-1)) continue;
      if (this.isAtStart()) return this.arrival("start");
      const filmed = await this.films.before(instantOf(this.position), left > mostSingleSteps, signal);
      if (filmed) {
        this.frame = filmed;
        left++;
      } else if (left > mostSingleSteps) {
        const arrived = await this.jumpBack(left, signal);
        return arrived ?? this.arrival("reached");
      } else {
        const arrived = await this.stepOnFoot(signal);
        if (arrived) return arrived;
      }
    }
    this.films.expect(this.position);
    return this.arrival("reached");
  }

  private isAtStart(): boolean {
    if (this.position.icount !== 0n) return false;
    return this.frame ? this.frame.index === 0 : !this.session.previous;
  }

  /** Goes one instant back without a film. */
  private async stepOnFoot(signal?: AbortSignal): Promise<Arrival | undefined> {
    const landed = await this.attempt(() => this.land(signal));
    if (landed === "cancelled") return this.arrival("cancelled");
    const previous = this.session.previous ?? (await this.learnPrevious(signal));
    const arrived = await this.attempt(() => this.fetch(previous, signal));
    if (arrived === "cancelled") return this.arrival("cancelled");
    this.pool.expect(this.position.icount, spareSessions);
    return undefined;
  }

  /**
   * Goes many instants back: goes back by `count` instructions, steps forward to here and lists the instants on the
   * way, since deliveries are instants, too, then goes to the wanted one.
   */
  private async jumpBack(count: number, signal?: AbortSignal): Promise<Arrival | undefined> {
    const here = instantOf(this.position);
    const earliest = here.icount > BigInt(count) ? here.icount - BigInt(count) : 0n;
    const gone = await this.attempt(() => this.fetch({ icount: icount(earliest) }, signal));
    if (gone === "cancelled") return this.arrival("cancelled");
    const passed: Instant[] = [];
    while (this.position.icount !== here.icount || this.position.pc !== here.pc) {
      if (signal?.aborted) return this.arrival("cancelled");
      passed.push(instantOf(this.position));
      await this.forward([]);
    }
    const target = passed.at(-count) ?? passed[0] ?? here;
    const reached = await this.attempt(() => this.fetch(target, signal));
    if (reached === "cancelled") return this.arrival("cancelled");
    return passed.length < count ? this.arrival("start") : undefined;
  }

  /**
   * The instant before this one, for a session that did not come here by a step: another session comes here by a
   * step.
   */
  private async learnPrevious(signal?: AbortSignal): Promise<Instant> {
    const here = instantOf(this.position);
    const again = await this.pool.at(here, signal);
    await this.pool.park(this.session);
    this.session = again;
    if (!again.previous)
      throw new VmtapeError("not-reached", `nothing is known before icount ${here.icount}`);
    return again.previous;
  }

  private async attempt<T>(go: () => Promise<T>): Promise<T | "cancelled"> {
    try {
      return await go();
    } catch (error) {
      if (isVmtapeError(error, "cancelled")) return "cancelled";
      throw error;
    }
  }

  /**
   * Reads something of the machine at this instant; when its QEMU has died, from another QEMU at the same instant.
   */
  private async look<T>(ask: (session: CountedSession) => Promise<T>): Promise<T> {
    await this.land();
    return this.again(instantOf(this.position), () => ask(this.session));
  }

  private arrival(why: Arrival["why"], points: readonly PointId[] = []): Arrival {
    return { position: this.position, why, points };
  }
}

const nothing = Promise.resolve(undefined);

const whyAt = (earliest: Icount) => (earliest === 0n ? ("start" as const) : ("reached" as const));

function instantOf({ icount: at, pc }: Position): Instant {
  return { icount: at, pc };
}
