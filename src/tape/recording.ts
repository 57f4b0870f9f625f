import { statfs } from "node:fs/promises";
import { isVmtapeError, VmtapeError } from "../base/errors.js";
import type { RunContext } from "../base/run-context.js";
import type { Scope } from "../base/scope.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";
import type { EndCause, Manifest } from "../formats/manifest.js";
import { dialectFor, type ShutdownCause } from "../formats/replay-log-dialect.js";
import { connectMonitor, describeEnd } from "../qemu/connect.js";
import { GuardChannel, guardArguments } from "../qemu/guard.js";
import { machineArguments } from "../qemu/machine.js";
import { firstChannelFd, monitorFd, type ProcessEnd, QemuProcess } from "../qemu/process.js";
import type { Qmp } from "../qemu/qmp.js";
import { serialTraceEvents } from "../qemu/serial-receiver.js";
import { hashRam } from "../qemu/state-hash.js";
import { ConsoleCast } from "./console-cast.js";
import type { LineMonitor } from "./console-line.js";
import type { SharedConsole } from "./console-seat.js";
import { ControlServer } from "./control.js";
import type { Places } from "./home.js";
import { Keyboard } from "./keyboard.js";
import type { TapeLayout } from "./layout.js";
import { neededSpace, type PreparedTape, prepareTape } from "./prepare.js";
import type { RecordOptions } from "./record-options.js";
import { RecordedConsole } from "./recorded-console.js";
import { sealLog } from "./seal.js";
import { describeFile } from "./store.js";
import { Tape, writeManifest } from "./tape.js";
import { Witnesses } from "./witnesses.js";

/** What a caller can be told of a recording, and how it can stop it. */
export interface RecordHooks extends Pick<RunContext, "debug" | "onProgress"> {
  /** Stops the recording, as {@link Recording.stop} does; the tape is then complete. */
  readonly signal?: AbortSignal | undefined;
  /** What the guest prints, as it comes (borrowed). */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /** Called with facts that a user wants to know while it runs, such as "the guest panicked". */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/** Why `Recording.stop` was called. */
export type StopReason = Extract<EndCause, "stopped" | "timeout" | "disk-full" | "panic">;

/**
 * How often the progress is asked for. Seldom, because each question wakes QEMU's main loop, which then writes to the
 * log.
 */
const progressEveryMs = 1000;
const diskCheckEveryMs = 500;
/** How long a guest may take to reboot by itself after a panic, before the recording is stopped. */
const afterPanicMs = 3000;
/** How long QEMU may take to exit after `quit`, and again after SIGTERM. */
const patienceMs = 5000;
/** Guests with more memory are not hashed when they are stopped: a user who stops one would have to wait for it. */
const mostHashedAtStopMB = 512;

/**
 * Records a run: makes the tape, starts the machine, and returns the running recording.
 *
 * @throws everything `prepareTape` throws; `qemu-failed` when QEMU does not start. On an error before the guest runs,
 *   no tape is left.
 */
export async function record(
  places: Places,
  options: RecordOptions,
  hooks: RecordHooks = {},
): Promise<Recording> {
  throwIfAborted(hooks.signal);
  if (options.timeoutSeconds !== undefined && !(options.timeoutSeconds > 0)) {
    throw new VmtapeError("usage", `a timeout of ${options.timeoutSeconds} s is not possible`);
  }
  const prepared = await prepareTape(places, options, hooks.signal);
  return Recording.start(places, prepared, options, hooks);
}

/** After so many ms QEMU's main loop has read what was typed. */
const wakeMs = 5;

/** The console's access to QEMU. Errors are ignored, since the console ends soon after QEMU has. */
function lineMonitor(qmp: Qmp, guard: GuardChannel | undefined): LineMonitor {
  let waking = false;
  const wake = () => {
    if (waking || !guard) return;
    waking = true;
    const settled = () => {
      waking = false;
    };
    guard.wake(wakeMs).then(settled, settled);
  };
  const tell = (enable: boolean) =>
    serialTraceEvents.map((name) => qmp.execute("trace-event-set-state", { name, enable }));
  return {
    executed: () => qmp.replayStatus().then(({ icount }) => icount, () => 0n), // biome-ignore format: short
    trace: (on) => Promise.all(tell(on)).then(() => true, () => false), // biome-ignore format: short
    wake,
  };
}

/** A running machine that is being recorded. It ends when the guest does, or by {@link Recording.stop}. */
export class Recording {
  readonly layout: TapeLayout;
  /**
   * The complete tape. Rejects with `qemu-failed` or `disk-full` when the recording failed; the tape on disk is then
   * an interrupted one, which `repairTape` can complete. Rejects with `cancelled`, and leaves no tape, when it was
   * stopped before the first instruction.
   */
  readonly done: Promise<Tape>;
  private readonly manifest: Manifest;
  private readonly options: RecordOptions;
  private readonly hooks: RecordHooks;
  private readonly scope: Scope;
  private readonly discard: () => Promise<void>;
  private readonly qemu: QemuProcess;
  private readonly qmp: Qmp;
  /** The console, which clients can join. */
  readonly console: SharedConsole;
  private readonly serial: RecordedConsole;
  private readonly witnesses: Witnesses | undefined;
  private readonly startedAt = performance.now();
  private readonly consoleSinks = new Set<(bytes: Uint8Array) => void>();
  private stopping: StopReason | undefined;
  private panicked = false;
  private logFailed = false;
  private lastIcount = 0;
  private quitting: Promise<void> | undefined;

  private constructor(
    prepared: PreparedTape,
    options: RecordOptions,
    hooks: RecordHooks,
    running: {
      scope: Scope;
      qemu: QemuProcess;
      qmp: Qmp;
      console: RecordedConsole;
      guard: GuardChannel | undefined;
    },
  ) {
    this.layout = prepared.layout;
    this.manifest = prepared.manifest;
    this.options = options;
    this.hooks = hooks;
    this.scope = running.scope;
    this.discard = prepared.discard;
    this.qemu = running.qemu;
    this.qmp = running.qmp;
    const serial = running.console;
    this.serial = serial;
    this.console = {
      file: prepared.layout.console,
      keyboard: new Keyboard(),
      get printed() {
        return serial.printed;
      },
      onPrinted: (listener) => {
        this.consoleSinks.add(listener);
        return () => this.consoleSinks.delete(listener);
      },
      type: (bytes) => serial.type(bytes),
      drop: () => serial.drop(),
    };
    const { memoryMB } = prepared.manifest.machine;
    this.witnesses =
      running.guard &&
      new Witnesses(
        running.guard,
        (signal) => hashRam(running.qemu.pid, signal),
        memoryMB,
        (witnesses) => writeManifest(this.layout, { ...this.manifest, witnesses: [...witnesses] }),
      );
    if (hooks.onConsole) this.consoleSinks.add(hooks.onConsole);
    this.done = this.watch();
    this.done.catch(() => {}); // its error is thrown where it is awaited
  }

  static async start(
    places: Places,
    prepared: PreparedTape,
    options: RecordOptions,
    hooks: RecordHooks,
  ): Promise<Recording> {
    const { layout } = prepared;
    await using scope = prepared.scope.move();
    let began = false;
    scope.defer(() => (began ? undefined : prepared.discard()));
    const control = scope.own(await ControlServer.listen(places, layout.directory));
    const console = scope.own(await RecordedConsole.make(places, layout.directory, layout.console));
    let failed: (() => void) | undefined;
    let logFailed = false;
    const machine = new Tape(layout.directory, prepared.manifest, "recording", options.name).machine;
    const args = machineArguments(
      { ...machine, disks: machine.disks.map((_, i) => ({ file: layout.diskOverlay(i), format: "qcow2" })) },
      {
        mode: "record",
        sandbox: options.qemu.sandbox,
        log: layout.log,
        disks: "written",
        hostForwards: options.network.hostForwards,
        console: console.device,
        monitors: [`socket,fd=${monitorFd}`],
        extra: [
          ...console.options,
          ...(options.guard === undefined ? [] : guardArguments(options.guard, firstChannelFd)),
        ],
      },
    );
    const qemu = scope.own(
      await QemuProcess.start(options.qemu.path, args, {
        deathSignal: "TERM",
        heldFd: prepared.lock.fd,
        channels: options.guard === undefined ? 0 : 1,
        debug: hooks.debug,
        onError: (line) => {
          if (!/replay write error/i.test(line)) return;
          logFailed = true;
          failed?.();
        },
      }),
    );
    const qmp = await connectMonitor(qemu, hooks.signal);
    const guard = qemu.channels[0] && new GuardChannel(qemu.channels[0]);
    await console.connect(lineMonitor(qmp, guard));
    began = true;
    const recording = new Recording(prepared, options, hooks, {
      scope: scope.move(),
      qemu,
      qmp,
      console,
      guard,
    });
    failed = () => recording.failLog();
    if (logFailed) recording.failLog();
    control.serve(recording);
    return recording;
  }

  /**
   * Sends bytes to the guest's serial console, as if typed. Resolves when they are in the guest's port, were dropped,
   * or QEMU has ended.
   */
  type(bytes: Uint8Array): Promise<void> {
    return this.serial.type(bytes);
  }

  /**
   * Calls `sink` with what the guest has printed so far (at most the last 64 KiB), and with everything from now on.
   * The function that is returned ends that.
   */
  listen(sink: (bytes: Uint8Array) => void): () => void {
    const past = this.serial.past();
    if (past.length > 0) sink(past);
    this.consoleSinks.add(sink);
    return () => this.consoleSinks.delete(sink);
  }

  /**
   * Ends the machine at the instruction that it has reached. The tape is then complete. May be called several times.
   */
  stop(reason: StopReason = "stopped"): Promise<Tape> {
    if (this.qemu.running) {
      this.stopping ??= reason;
      this.quitting ??= this.quit();
    }
    return this.done;
  }

  /** Hashes the state where that is quick, and makes QEMU exit, so that it closes its log. */
  private async quit(): Promise<void> {
    if (this.manifest.machine.memoryMB <= mostHashedAtStopMB) await this.witnesses?.take();
    else this.witnesses?.giveUp();
    await this.witnesses?.settled();
    const deadline = setTimeout(() => this.qemu.kill("SIGTERM"), patienceMs);
    const lastDeadline = setTimeout(() => this.qemu.kill("SIGKILL"), 2 * patienceMs);
    try {
      await this.qmp.execute("quit");
    } catch {
      this.qemu.kill("SIGTERM"); // the monitor is closed or hangs: on SIGTERM QEMU closes its log, too
    }
    await this.qemu.ended;
    clearTimeout(deadline);
    clearTimeout(lastDeadline);
  }

  private async watch(): Promise<Tape> {
    await using _owned = { [Symbol.asyncDispose]: () => this.scope[Symbol.asyncDispose]() };
    const shutdown = this.watchShutdown();
    const cast = await ConsoleCast.create(this.layout.consoleCast, this.manifest.created);
    const printing = this.watchConsole(cast);
    printing.catch(() => {}); // thrown where it is awaited
    const timers = this.startTimers();
    using _stopped = whenAborted(this.hooks.signal, () => void this.stop());
    let end: ProcessEnd;
    try {
      end = await this.qemu.ended;
      await this.witnesses?.settled(); // witnesses write the manifest, too
      this.serial.end();
      await printing;
    } finally {
      for (const timer of timers) clearInterval(timer);
      await cast.close();
    }
    const seconds = (performance.now() - this.startedAt) / 1000;
    this.throwIfBad(end);
    return await this.complete(seconds, shutdown()); // awaited here, so that the lock is still held
  }

  /** Notes the reason of QEMU's last shutdown event. The function that is returned tells it. */
  private watchShutdown(): () => ShutdownCause | undefined {
    let reason: ShutdownCause | undefined;
    this.qmp.onEvent(({ event, data }) => {
      if (event === "SHUTDOWN") {
        reason ??= data.reason as ShutdownCause;
        void this.qemu.leave();
      }
      if (event === "GUEST_PANICKED") this.notePanic();
    });
    return () => reason;
  }

  private watchConsole(cast: ConsoleCast): Promise<void> {
    let tail = "";
    return this.serial.follow((bytes) => {
      cast.add((performance.now() - this.startedAt) / 1000, bytes);
      for (const sink of this.consoleSinks) sink(bytes);
      tail = (tail + bytes.toString("latin1")).slice(-4096);
      if (!this.panicked && tail.includes("Kernel panic - not syncing")) this.notePanic();
    });
  }

  private notePanic(): void {
    if (this.panicked) return;
    this.panicked = true;
    this.hooks.onNotice?.("the guest panicked");
    setTimeout(() => void this.stop("panic"), afterPanicMs).unref();
  }

  private startTimers(): NodeJS.Timeout[] {
    const timers = [
      setInterval(() => void this.reportProgress(), progressEveryMs),
      setInterval(() => void this.checkDisk(), diskCheckEveryMs),
      ...(this.witnesses ? [this.witnesses.start()] : []),
    ];
    const { timeoutSeconds } = this.options;
    if (timeoutSeconds !== undefined) {
      timers.push(setTimeout(() => void this.stop("timeout"), timeoutSeconds * 1000));
    }
    return timers;
  }

  private async reportProgress(): Promise<void> {
    const { icount } = await this.qmp.replayStatus().catch(() => ({ icount: 0n }));
    this.lastIcount = Math.max(this.lastIcount, Number(icount));
    this.hooks.onProgress?.({ doing: "recording", done: this.lastIcount, unit: "instructions" });
  }

  private async checkDisk(): Promise<void> {
    const { bavail, bsize } = await statfs(this.layout.directory).catch(() => ({
      bavail: neededSpace,
      bsize: 1,
    }));
    if (bavail * bsize < neededSpace / 4) void this.stop("disk-full");
  }

  /** Ends a QEMU that could not write its log, since it would go on without. */
  private failLog(): void {
    this.logFailed = true;
    this.qemu.kill("SIGKILL");
  }

  private throwIfBad(end: ProcessEnd): void {
    const facts = { file: this.layout.directory, mend: `vmtape repair ${this.options.name}` };
    if (this.logFailed) {
      throw new VmtapeError("disk-full", `no space left while recording ${this.layout.log}`, facts);
    }
    if (end.code !== 0) {
      const why = this.qemu.lastError || describeEnd(end);
      throw new VmtapeError("qemu-failed", `QEMU ended before the recording did: ${why}`, {
        ...facts,
        got: this.qemu.errorOutput.trim(),
      });
    }
  }

  private async complete(seconds: number, reason: ShutdownCause | undefined): Promise<Tape> {
    const { layout } = this;
    const dialect = dialectFor(this.manifest.qemu.version);
    const sealed = await sealLog(layout.log, dialect);
    if (sealed.end === 0n) {
      await this.discard();
      throw new VmtapeError("cancelled", "stopped before the guest's first instruction: there is no tape");
    }
    const [log, console] = await Promise.all([describeFile(layout.log), describeFile(layout.console)]);
    const end = Number(sealed.end);
    const manifest: Manifest = {
      ...this.manifest,
      witnesses: (await this.witnesses?.sealed(layout.log, dialect, end)) ?? [],
      end: {
        cause: this.endCause(reason ?? this.loggedReason(sealed.cause)),
        icount: end,
        seconds: Math.round(seconds * 1000) / 1000,
        log: { ...log, events: sealed.events },
        console,
      },
    };
    await writeManifest(layout, manifest).catch((error) => {
      if (!isVmtapeError(error, "disk-full")) throw error;
      const mend = `free some space, then: vmtape repair ${this.options.name}`;
      throw new VmtapeError("disk-full", error.message, { ...error.facts, mend }, error);
    });
    return new Tape(layout.directory, manifest, "complete", this.options.name);
  }

  /**
   * The reason of the shutdown from the log, for the rare case that QEMU's last event was lost at its exit. The log
   * has the same reason for a reset that ends the machine as for a signal, but only for a signal QEMU prints a
   * message.
   */
  private loggedReason(cause: ShutdownCause): ShutdownCause {
    const signalled = /terminating on signal/.test(this.qemu.errorOutput);
    return cause === "host-signal" && !signalled ? "guest-reset" : cause;
  }

  private endCause(reason: ShutdownCause): EndCause {
    if (this.panicked) return "panic";
    if (this.stopping) return this.stopping;
    if (reason === "guest-shutdown") return "power-off";
    if (reason === "guest-reset") return "reboot";
    if (reason === "guest-panic") return "panic";
    return "stopped";
  }
}
