import type { Socket } from "node:net";
import { setTimeout as delay, setImmediate } from "node:timers/promises";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { silent } from "../../base/log.js";
import type { RunContext } from "../../base/run-context.js";
import { Scope } from "../../base/scope.js";
import { throwIfAborted } from "../../base/stopping.js";
import { type Icount, icount } from "../../base/units.js";
import type { QemuBuild } from "../../qemu/build.js";
import { chooseQemu } from "../../qemu/choose.js";
import { connectMonitor, describeEnd } from "../../qemu/connect.js";
import { GuardChannel, guardArguments } from "../../qemu/guard.js";
import { machineArguments, type RunPlan } from "../../qemu/machine.js";
import { consoleFd, firstChannelFd, monitorFd, QemuProcess } from "../../qemu/process.js";
import type { Qmp } from "../../qemu/qmp.js";
import { type PhysicalRange, romsInRam } from "../../qemu/rom-images.js";
import { deleteSnapshot, leaveRamOut, loadSnapshot, saveSnapshot, tooEarly } from "../../qemu/snapshot.js";
import { hashState, type StateHash } from "../../qemu/state-hash.js";
import type { Tape } from "../../tape/tape.js";
import { checkTape } from "./check-tape.js";
import type { Checkpoint } from "./checkpoint.js";
import { CheckpointDraft, type CheckpointInstant } from "./checkpoint-store.js";
import { SessionFiles } from "./session-files.js";
import { runDelays, StallClock } from "./stall-clock.js";

/**
 * `initialized`: created, no machine yet. `paused`, `running`: a machine replays. `ended`: it replayed to the tape's
 * last instruction. `stopped`: its machine was ended; it can start again. `failed`: the machine went wrong.
 */
export type SessionState = "initialized" | "paused" | "running" | "ended" | "stopped" | "failed";

export interface SessionOptions extends RunContext {
  /** Skip checking the tape's files, because the caller has just done so. Default false. */
  readonly trusted?: boolean | undefined;
  /** Further monitors, a GDB stub for other programs, and QEMU options that change nothing for the guest. */
  readonly attach?: Pick<RunPlan, "monitors" | "gdb" | "extra">;
  /** The checkpoint to start from. Default: the tape's beginning. */
  readonly from?: Checkpoint | undefined;
  /**
   * Make it possible to leave checkpoints, in this cache of the tape (`tapeCache`). The session then has RAM and
   * disks in files of its own; with `from` these are copies of the checkpoint's, which take some 40 ms. See {@link
   * Session.checkpoint}.
   */
  readonly checkpointsTo?: string | undefined;
  /** How many socket pairs its QEMU inherits for a plugin. Default 0. */
  readonly channels?: number;
  /**
   * The built guard (`guardOf`): with it a machine stops before all events at the wanted icount, and goes on as if it
   * had not stopped. Without it QEMU stops either before or after a delivery at that icount, and the replay may stand
   * still after some stops.
   */
  readonly guard?: string | undefined;
  /** What the guest prints, as it comes (borrowed). */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /**
   * A running machine whose icount stands still for so long, though the host gave it a processor, has diverged from
   * its tape. In seconds. Default 10.
   */
  readonly stallSeconds?: number | undefined;
}

/** Where a session stopped, and why. */
export interface Stop {
  readonly at: Icount;
  /**
   * `break`: the wanted icount. `end`: the tape's end. `paused`: another client of QEMU, or {@link Session.pause},
   * stopped it.
   */
  readonly why: "break" | "end" | "paused";
}

/**
 * A QEMU that ends by one of these signals was killed from outside; one that ends by another has crashed because of
 * its log.
 */
const endingSignals: ReadonlySet<string> = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"]);
/**
 * The time between two questions to a busy machine, in ms. It doubles with each question as long as the machine is as
 * fast as one that never waits.
 */
const busyLookMs = { least: 5, most: 40 };
const busyInstructionsPerMs = 400_000;
/** A machine that executes fewer instructions between two questions is idle, and is asked again at once. */
const idleInstructions = 20_000n;
/** The time between two questions while the machine is paused by another client. */
const pausedLookMs = 50;
const progressEveryMs = 250;
/** How long a QEMU that has closed a channel may take to exit. */
const lastWordsMs = 2000;

/**
 * One replay of a tape: a QEMU that only runs forward. Its methods follow XenTT's `xentt_replay_*` calls: create,
 * start (paused, or until a position), stop, destroy, and `loc`.
 */
export class Session implements AsyncDisposable {
  readonly tape: Tape;
  readonly build: QemuBuild;
  private readonly options: SessionOptions;
  private machine:
    | {
        readonly scope: Scope;
        readonly qemu: QemuProcess;
        readonly qmp: Qmp;
        readonly files: SessionFiles | undefined;
        readonly guard: GuardChannel | undefined;
      }
    | undefined;
  private current: SessionState = "initialized";
  private lastSeen = 0n;
  private shutdown: string | undefined;
  private wake: (() => void) | undefined;
  private starting = false;
  private destroyed = false;

  private constructor(tape: Tape, build: QemuBuild, options: SessionOptions) {
    this.tape = tape;
    this.build = build;
    this.options = options;
  }

  /**
   * Checks the tape and finds its QEMU. Starts no machine yet.
   *
   * @throws everything `checkTape` and `chooseQemu` throw
   */
  static async create(tape: Tape, options: SessionOptions = {}): Promise<Session> {
    const build = await chooseQemu(tape.manifest.qemu, options.qemu);
    if (!options.trusted) await checkTape(tape, options.signal);
    return new Session(tape, build, options);
  }

  get state(): SessionState {
    return this.current;
  }

  /** QEMU's reason for the shutdown that ended the replay, e.g. `guest-shutdown`; undefined until then. */
  get shutdownReason(): string | undefined {
    return this.shutdown;
  }

  /** The icount that was seen last. QEMU is not asked: of a running machine it is some ms old. */
  get seen(): Icount {
    return icount(this.lastSeen);
  }

  /** The cache in which it leaves checkpoints; undefined when it was not made to leave any. */
  get checkpointsTo(): string | undefined {
    return this.options.checkpointsTo;
  }

  /** Process id of the replaying QEMU, while there is one. */
  get pid(): number | undefined {
    return this.machine?.qemu.pid;
  }

  /**
   * Starts the machine at the tape's beginning, or at the checkpoint `from`, and pauses it before the first
   * instruction; with `until`, at that icount.
   *
   * @throws `usage` when the session has a machine already; `qemu-failed`; everything `runTo` throws
   */
  async start(until?: Icount, signal?: AbortSignal): Promise<void> {
    if (this.machine || this.starting) {
      throw new VmtapeError("usage", "this session has been started already");
    }
    if (this.destroyed) throw new VmtapeError("usage", "this session has been destroyed");
    this.starting = true;
    try {
      await this.makeMachine(signal);
    } finally {
      this.starting = false;
    }
    if (until !== undefined) await this.runTo(until, signal);
  }

  private async makeMachine(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const { debug = silent, onConsole, from, checkpointsTo, guard, channels = 0 } = this.options;
    await using scope = new Scope();
    const files = from
      ? scope.own(await SessionFiles.from(this.tape, from, checkpointsTo !== undefined))
      : checkpointsTo !== undefined
        ? scope.own(await SessionFiles.fresh(this.tape))
        : undefined;
    const qemu = scope.own(
      await QemuProcess.start(this.build.path, this.arguments(files), {
        deathSignal: "KILL",
        debug,
        channels: this.allChannels,
        files: files?.descriptors ?? [],
      }),
    );
    qemu.console.on("data", (bytes: Buffer) => onConsole?.(bytes));
    let loaded: Promise<PhysicalRange[]> | undefined;
    const monitor = await connectMonitor(qemu, signal, (qmp) => {
      loaded = load(qmp, { ramIsFile: files !== undefined, fromCheckpoint: from !== undefined });
      loaded.catch(() => {}); // its error is thrown below
    });
    this.shutdown = undefined;
    this.current = "paused";
    this.lastSeen = 0n;
    monitor.onEvent(({ event, data }) => {
      this.notice(event, data);
      this.wake?.();
    });
    void qemu.ended.then(() => {
      if (this.machine?.qemu === qemu) this.current = "failed";
      this.wake?.();
    });
    await files?.restoreRam(qemu.pid, (await loaded) ?? []);
    if (from && files?.sources) await deleteSnapshot(monitor, this.tape.machine.disks.length);
    this.machine = {
      scope: scope.move(),
      qemu,
      qmp: monitor,
      files,
      guard: guard === undefined ? undefined : new GuardChannel(qemu.channels[channels]!),
    };
  }

  /** Follows QEMU's events, so that the state is right when other clients drive the machine, too. */
  private notice(event: string, data: Readonly<Record<string, unknown>>): void {
    if (event === "RESUME" && this.current === "paused") this.current = "running";
    if (event === "STOP" && this.current === "running") this.current = "paused";
    if (event === "SHUTDOWN") {
      this.shutdown ??= String(data.reason);
      this.current = "ended";
    }
  }

  /** The instruction count now. */
  async position(): Promise<Icount> {
    if (this.current === "ended") return this.tape.end.at;
    const { icount: now } = await this.alive(this.running().qmp.replayStatus());
    this.lastSeen = now;
    return icount(now);
  }

  /**
   * Runs to `target` and pauses there, or at the tape's end when that comes first.
   *
   * @throws `usage` when `target` lies before the present icount; `diverged` when the machine does something else
   *   than its tape; `cancelled` (the machine is then paused somewhere on the way)
   */
  async runTo(target: Icount, signal?: AbortSignal): Promise<Stop> {
    const { qmp } = this.running();
    // A running machine is paused first: QEMU answers `cont` on a running one with a STOP event, which would be
    // mistaken for the one at `target`.
    const at = this.current === "running" ? await this.pause() : await this.position();
    if (target < at) {
      throw new VmtapeError("usage", `icount ${target} lies behind ${at}: a session only runs forward`, {
        icount: at,
      });
    }
    if (this.current === "ended") return { at, why: "end" };
    if (target === at) return { at, why: "break" };
    if (target >= this.tape.end.at) return this.runToEnd(signal);
    await this.alive(qmp.execute("replay-break", { icount: target }));
    return this.run(target, signal);
  }

  /** Runs to the tape's last instruction. The machine has then ended. */
  runToEnd(signal?: AbortSignal): Promise<Stop> {
    return this.run(this.tape.end.at, signal);
  }

  /** Lets the machine run without waiting for it; `pause` stops it. */
  async resume(): Promise<void> {
    if (this.current === "ended") {
      throw new VmtapeError("usage", "the replay is at the tape's end: there is nothing to resume");
    }
    await this.alive(this.running().qmp.execute("cont"));
    this.current = "running";
  }

  /** Stops the machine where it is. */
  async pause(): Promise<Icount> {
    await this.alive(this.running().qmp.execute("stop"));
    if (this.current === "running") this.current = "paused";
    return this.position();
  }

  /** A hash of the paused machine's registers and memory. */
  hashState(): Promise<StateHash> {
    const { qmp, qemu } = this.running();
    return this.alive(hashState(qmp, qemu.pid));
  }

  /**
   * Makes a checkpoint of the paused machine, from which other sessions can start (`SessionOptions.from`). The
   * session must have been made with `checkpointsTo`. No other checkpoint is removed for it: a caller that makes many
   * calls `keepTapeBudget` after each. Cost: see {@link beginCheckpoint}, and the hashing.
   */
  async checkpoint(at: CheckpointInstant): Promise<Checkpoint> {
    const { stored } = await this.beginCheckpoint(at);
    return stored;
  }

  /**
   * As {@link checkpoint}, but returns as soon as the machine may go on, with the checkpoint's bytes on disk;
   * `stored` resolves when it is in the cache. Cost: 10 ms, and a copy of what the guest's RAM holds, at 2 GB/s; then
   * its hash at 1.5 GB/s, while the machine may run.
   *
   * @throws `disk-full`, `not-writable`; `bad-file` when the cache is removed meanwhile; `qemu-failed`: while a
   *   disk's answer or a packet is on its way no checkpoint can be made (`isTooEarly`); some instructions later it
   *   can
   */
  async beginCheckpoint(
    at: CheckpointInstant,
  ): Promise<{ readonly bytes: number; readonly stored: Promise<Checkpoint> }> {
    const { qmp, files } = this.running();
    const { checkpointsTo } = this.options;
    if (checkpointsTo === undefined || !files?.sources)
      throw new VmtapeError("usage", "this session was not made to leave checkpoints");
    if (await this.packetsWaiting()) throw tooEarly();
    const disks = this.tape.machine.disks.length;
    const draft = await CheckpointDraft.begin(checkpointsTo, this.build);
    let bytes: number;
    try {
      await this.alive(saveSnapshot(qmp, disks));
      try {
        bytes = await draft.copy(files.sources);
      } finally {
        // Also when copying failed (the cache removed, the disk full): a snapshot that stays would make the next one
        // fail.
        await this.alive(deleteSnapshot(qmp, disks));
      }
    } catch (error) {
      await draft[Symbol.asyncDispose]();
      throw error;
    }
    const stored = draft.finish(at, this.build).finally(() => draft[Symbol.asyncDispose]());
    stored.catch(() => {}); // its error is thrown where it is awaited
    return { bytes, stored };
  }

  /** Do packets wait in a network queue? QEMU's snapshots leave them out. */
  private async packetsWaiting(): Promise<boolean> {
    const { guard } = this.running();
    if (!guard || this.tape.machine.network === "none") return false;
    return (await this.alive(guard.packetsWaiting())) > 0;
  }

  /** Was the session made to leave checkpoints? */
  get leavesCheckpoints(): boolean {
    return this.options.checkpointsTo !== undefined;
  }

  /** Our ends of the pairs asked for with `channels`. */
  get channels(): readonly Socket[] {
    return this.running().qemu.channels.slice(0, this.options.channels ?? 0);
  }

  /** Socket pairs in all: the guard has one of its own. */
  private get allChannels(): number {
    return (this.options.channels ?? 0) + (this.options.guard === undefined ? 0 : 1);
  }

  /** QEMU's monitor, for commands that this class does not have. */
  get qmp(): Qmp {
    return this.running().qmp;
  }

  /** Lets QEMU exit by itself, so that its plugins can send all they have. */
  async quit(): Promise<void> {
    const { qmp, qemu } = this.running();
    void qmp.execute("quit").catch(() => {});
    await qemu.leave();
  }

  /** Ends the machine. The session can then start again from its beginning. */
  async stop(): Promise<void> {
    const { machine } = this;
    this.machine = undefined;
    if (this.current !== "ended" && this.current !== "failed") this.current = "stopped";
    await machine?.scope[Symbol.asyncDispose]();
  }

  /** Ends the machine and the session. The tape stays. */
  async destroy(): Promise<void> {
    this.destroyed = true;
    await this.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  /** The argument list of this session's QEMU. */
  private arguments(files: SessionFiles | undefined): string[] {
    const { attach = {}, guard, channels = 0 } = this.options;
    const { machine, plan } = files?.plan(this.allChannels) ?? { machine: this.tape.machine, plan: {} };
    return machineArguments(machine, {
      mode: "replay",
      sandbox: this.build.sandbox,
      log: this.tape.layout.log,
      disks: "untouched",
      console: `socket,fd=${consoleFd}`,
      ...attach,
      ...plan,
      monitors: [`socket,fd=${monitorFd}`, ...(attach.monitors ?? [])],
      // The machine pauses at its shutdown in place of exiting, so that its last state can be read.
      extra: [
        "-no-shutdown",
        ...(attach.extra ?? []),
        ...(guard === undefined ? [] : guardArguments(guard, firstChannelFd + channels)),
      ],
      paused: true,
    });
  }

  /**
   * Waits for the tape's end while other clients (QMP, gdb) drive the machine. Neither starts nor stops it.
   *
   * @throws as `runTo`; when `cancelled`, the machine stays as it is
   */
  follow(signal?: AbortSignal): Promise<Stop> {
    return this.watch({ target: this.tape.end.at, untilEnd: true }, signal);
  }

  /** Lets the machine run until it stops by itself. When cancelled, pauses it. */
  private async run(target: Icount, signal?: AbortSignal): Promise<Stop> {
    throwIfAborted(signal);
    const watched = this.watch({ target, untilEnd: false }, signal);
    watched.catch(() => {}); // it may fail before `resume` has returned
    try {
      await this.resume();
      return await watched;
    } catch (error) {
      if (isVmtapeError(error, "cancelled")) await this.pause();
      throw error;
    }
  }

  /** Watches a machine until it stops: reports progress, and notices stalls, the death of QEMU and cancelling. */
  private async watch(until: { target: Icount; untilEnd: boolean }, signal?: AbortSignal): Promise<Stop> {
    const { qmp, qemu } = this.running();
    const { onProgress } = this.options;
    const events = watchEvents(qmp);
    events.running ||= this.current === "running";
    const clock = new StallClock(() => runDelays(qemu.pid), performance.now());
    let reported = 0;
    let pause = busyLookMs.least;
    try {
      while (qemu.running && !events.shutdown && (until.untilEnd || !events.stopped)) {
        throwIfAborted(signal);
        const before = this.lastSeen;
        const now = performance.now();
        const { icount: seen } = await qmp.replayStatus().catch(() => ({ icount: before }));
        if (seen > before || (until.untilEnd && !events.running)) clock.moved(now);
        this.lastSeen = seen;
        this.throwIfStalled(clock, now);
        if (now - reported > progressEveryMs) {
          reported = now;
          onProgress?.({
            doing: "replaying",
            done: Number(seen),
            total: Number(until.target),
            unit: "instructions",
          });
        }
        const paused = until.untilEnd && !events.running;
        const isFast = Number(seen - before) >= busyInstructionsPerMs * pause;
        pause = isFast ? Math.min(2 * pause, busyLookMs.most) : busyLookMs.least;
        if (paused || seen - before >= idleInstructions) await this.wait(paused ? pausedLookMs : pause);
        else await setImmediate();
      }
      return await this.settle(events.shutdown, until.target);
    } finally {
      events.dispose();
    }
  }

  /**
   * Waits for some ms before QEMU is asked again, or until it sends an event.
   *
   * Asking is not only for progress. When the guest idles, QEMU sleeps in its main loop for as long as the guest once
   * did, though the recorded clock values are in the log. Any monitor command wakes the loop, which then goes on to
   * the next values. The guest sees no difference: state hashes are equal with and without. A guest that idled for 32
   * s replayed in 20 s unasked, in 6 s asked every 2 ms, and in 4 s asked at once while it idles.
   */
  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      this.wake = done;
      const self = this;
      function done() {
        clearTimeout(timer);
        self.wake = undefined;
        resolve();
      }
    });
  }

  private async settle(shutdown: boolean, target: Icount): Promise<Stop> {
    const { qemu } = this.running();
    if (!qemu.running) throw await this.death();
    if (shutdown) {
      this.lastSeen = (await this.alive(this.qmp.replayStatus())).icount;
      if (this.lastSeen < this.tape.end.at) {
        throw this.fault(
          "diverged",
          `the machine shut down at icount ${this.lastSeen}, but its tape ends at ${this.tape.end.at}`,
          `shutdown at ${this.lastSeen}`,
        );
      }
      this.current = "ended";
      return { at: this.tape.end.at, why: "end" };
    }
    this.current = "paused";
    const at = await this.position();
    return { at, why: at === target ? "break" : "paused" };
  }

  /** Waits for an answer of QEMU. When QEMU has ended meanwhile, throws the reason. */
  private async alive<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (!this.machine?.qmp.closed) throw error;
      throw await this.death();
    }
  }

  /**
   * The reason for an error of a channel to QEMU: why QEMU has ended, where it has or is about to; otherwise the
   * error itself.
   */
  async explain(error: unknown): Promise<unknown> {
    const { machine } = this;
    if (!machine || !isVmtapeError(error, "qemu-failed")) return error;
    const ended = machine.qemu.ended.then(() => true);
    return (await Promise.race([ended, delay(lastWordsMs, false, { ref: false })])) ? this.death() : error;
  }

  /** The error for a QEMU that has ended: because the machine diverged from its log, or because it was killed. */
  private async death(): Promise<VmtapeError> {
    const { qemu } = this.running();
    const end = await qemu.ended;
    const why = qemu.lastError || describeEnd(end);
    const asked = end.signal !== null && endingSignals.has(end.signal);
    const parted = !asked && (end.signal !== null || /replay|missing|log/i.test(why));
    const code = parted ? "diverged" : "qemu-failed";
    return this.fault(code, `QEMU ended after icount ${this.lastSeen}: ${why}`, why, true);
  }

  private throwIfStalled(clock: StallClock, now: number): void {
    const seconds = this.options.stallSeconds ?? 10;
    if (clock.stalled(now) < seconds * 1000) return;
    throw this.fault(
      "diverged",
      `the replay stands still at icount ${this.lastSeen}: the machine waits for an event that is not the tape's next one`,
      `no instruction for ${seconds} s`,
    );
  }

  /**
   * @param died QEMU has ended, so that the icount is the last one that was seen, not the last one that was reached
   */
  private fault(code: "diverged" | "qemu-failed", message: string, got?: string, died = false): VmtapeError {
    this.current = "failed";
    return new VmtapeError(code, message, { file: this.tape.directory, icount: this.lastSeen, got, died });
  }

  private running() {
    if (!this.machine) throw new VmtapeError("usage", "this session has no machine: start it first");
    return this.machine;
  }
}

/**
 * Sends the first commands of a session. They are sent before QEMU has started, and answered in order.
 *
 * @returns the ranges of a checkpoint's RAM that QEMU has overwritten
 */
async function load(
  qmp: Qmp,
  how: { readonly ramIsFile: boolean; readonly fromCheckpoint: boolean },
): Promise<PhysicalRange[]> {
  const [, roms] = await Promise.all([
    how.ramIsFile && leaveRamOut(qmp),
    how.fromCheckpoint ? romsInRam(qmp) : [],
    how.fromCheckpoint && loadSnapshot(qmp),
  ]);
  return roms;
}

/** Notes which events the machine has sent since the watch began. */
function watchEvents(qmp: Qmp) {
  const seen = { stopped: false, shutdown: false, running: false, dispose: () => {} };
  seen.dispose = qmp.onEvent(({ event }) => {
    if (event === "RESUME") seen.running = true;
    if (event === "STOP") {
      seen.stopped = true;
      seen.running = false;
    }
    if (event === "SHUTDOWN") seen.shutdown = true;
  });
  return seen;
}
