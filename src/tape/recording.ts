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

/** What a caller may watch and end a recording with. */
export interface RecordHooks extends Pick<RunContext, "debug" | "onProgress"> {
  /** Stops the recording; it then ends like one that was stopped, with a whole tape. */
  readonly signal?: AbortSignal | undefined;
  /** What the guest prints, as it comes (borrowed). */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /** Facts worth telling while it runs: "the guest panicked". */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/** Why `Recording.stop` was called. */
export type StopReason = Extract<EndCause, "stopped" | "timeout" | "disk-full" | "panic">;

/** Seldom: each look wakes QEMU's main loop, which then writes to the log. */
const progressEveryMs = 1000;
const diskCheckEveryMs = 500;
/** After a panic the guest may still reboot by itself; then we end it. */
const afterPanicMs = 3000;
/** How long QEMU may take to leave after `quit`, and after SIGTERM. */
const patienceMs = 5000;
/** Larger guests are not hashed when they are stopped: it would take longer than somebody who stops one waits. */
const mostHashedAtStopMB = 512;

/**
 * Records a run: makes the tape, starts the machine, and gives back the recording as it runs.
 *
 * @throws everything `prepareTape` throws; `qemu-failed` when QEMU does not start. On an error before the guest
 *   runs, no tape is left.
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

/** QEMU's main loop has read what was typed by then. */
const wakeMs = 5;

/** How the console asks QEMU. When QEMU has ended, so has the console, in a moment. */
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

/** A machine that runs and is being recorded. It ends by itself, or by {@link Recording.stop}. */
export class Recording {
  readonly layout: TapeLayout;
  /**
   * The complete tape. Rejects with `qemu-failed` or `disk-full` when the recording ended badly: what is on disk
   * is then an interrupted tape, which `repairTape` mends. Rejects with `cancelled`, and leaves no tape, when it
   * was stopped before the first instruction.
   */
  readonly done: Promise<Tape>;
  private readonly manifest: Manifest;
  private readonly options: RecordOptions;
  private readonly hooks: RecordHooks;
  private readonly scope: Scope;
  private readonly discard: () => Promise<void>;
  private readonly qemu: QemuProcess;
  private readonly qmp: Qmp;
  /** The console, for all who join it. */
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
    this.done.catch(() => {}); // whoever awaits it sees the error
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

  /** Sends bytes to the guest's serial console, as if typed. Resolves when they are in its port, or it has ended. */
  type(bytes: Uint8Array): Promise<void> {
    return this.serial.type(bytes);
  }

  /**
   * Calls `sink` with what the guest printed so far (of a long past, the last 64 KiB) and with everything from now
   * on, until the returned function is called.
   */
  listen(sink: (bytes: Uint8Array) => void): () => void {
    const past = this.serial.past();
    if (past.length > 0) sink(past);
    this.consoleSinks.add(sink);
    return () => this.consoleSinks.delete(sink);
  }

  /** Ends the machine at the instruction it has reached; the tape is then complete. Idempotent. */
  stop(reason: StopReason = "stopped"): Promise<Tape> {
    if (this.qemu.running) {
      this.stopping ??= reason;
      this.quitting ??= this.quit();
    }
    return this.done;
  }

  /** Hashes the state when that is quick, and lets QEMU close its log. */
  private async quit(): Promise<void> {
    if (this.manifest.machine.memoryMB <= mostHashedAtStopMB) await this.witnesses?.take();
    else this.witnesses?.giveUp();
    await this.witnesses?.settled();
    const deadline = setTimeout(() => this.qemu.kill("SIGTERM"), patienceMs);
    const lastDeadline = setTimeout(() => this.qemu.kill("SIGKILL"), 2 * patienceMs);
    try {
      await this.qmp.execute("quit");
    } catch {
      this.qemu.kill("SIGTERM"); // the monitor is gone or stuck: QEMU closes its log on SIGTERM too
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
      await this.witnesses?.settled(); // it writes the manifest, too
      this.serial.end();
      await printing;
    } finally {
      for (const timer of timers) clearInterval(timer);
      await cast.close();
    }
    const seconds = (performance.now() - this.startedAt) / 1000;
    this.throwIfBad(end);
    return await this.complete(seconds, shutdown()); // before the lock is let go
  }

  /** Remembers the reason of QEMU's last shutdown event. */
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

  /** QEMU could not write its log. It would go on without, so it must end now. */
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
   * The reason as the log tells it, for the rare case that QEMU's last event is lost on its way out. A reset that ends
   * the machine is not in the log: QEMU ends it like a signal would, but says so only of a signal.
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
