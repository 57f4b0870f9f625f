import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { VmtapeError } from "../base/errors.js";
import { type DebugSink, silent } from "../base/log.js";
import { findProgram } from "../base/tool.js";

/** How a process ended. Exactly one of the two is set. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The file descriptors that a QEMU inherits. They are socket pairs, so that no socket file can be left over. */
export const monitorFd = 3;
export const consoleFd = 4;
export const firstChannelFd = 5;

/** The path under which a QEMU with `channels` pairs finds the inherited file number `index`. */
export function inheritedFile(channels: number, index: number): string {
  return `/proc/self/fd/${firstChannelFd + channels + index}`;
}

/** After so many ms a QEMU that does not exit is woken, again and again. */
const wakeMs = 1000;

const keptErrorBytes = 16 << 10;

/**
 * Lets QEMU's heap use large pages. Without them, 4 of the 28 ms until QEMU answers are page faults of the first 10
 * MB. (glibc 2.35 and later; others ignore it.)
 */
const heapOfLargePages = "glibc.malloc.hugetlb=1";

/**
 * One running QEMU and its streams. It is ended by its process id only. When vmtape dies first, the kernel sends QEMU
 * `deathSignal` (util-linux `setpriv --pdeathsig`), so that not even `kill -9` of vmtape leaves a QEMU running.
 */
export class QemuProcess implements AsyncDisposable {
  /** Our end of QEMU's first monitor. */
  readonly monitor: Socket;
  /** Our end of the serial console. */
  readonly console: Socket;
  /** Our ends of further pairs; QEMU's ends are descriptors {@link firstChannelFd}, +1 … */
  readonly channels: readonly Socket[];
  /** Resolves when the process has ended; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  private errors = "";
  private end: ProcessEnd | undefined;
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess, debug: DebugSink, onError: (line: string) => void) {
    this.child = child;
    this.monitor = child.stdio[monitorFd] as Socket;
    this.console = child.stdio[consoleFd] as Socket;
    this.channels = child.stdio.slice(firstChannelFd).filter((stream) => stream !== null) as Socket[];
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.errors = (this.errors + text).slice(-keptErrorBytes);
      for (const line of text.split("\n").filter(Boolean)) {
        debug(`qemu: ${line}`);
        onError(line);
      }
    });
    // The child's "close" event is not used: it would never come while a channel has bytes that are no longer read.
    const heard = [child.stderr, this.monitor, this.console].map(closing);
    const exited = new Promise<ProcessEnd>((resolve) => {
      child.once("exit", (code, signal) => {
        for (const stream of [this.monitor, this.console])
          if (stream.readableFlowing === null) stream.resume();
        resolve({ code, signal });
      });
    });
    this.ended = exited.then(async (end) => {
      await Promise.all(heard);
      this.end = end;
      return end;
    });
  }

  /**
   * Starts `program`. The death signal is `SIGTERM` for a recording (QEMU then closes its log) and `SIGKILL` for a
   * replay, which writes nothing of value.
   *
   * @param options.onError called with each line of QEMU's error output
   * @throws `missing-tool`, or `qemu-failed` when the process cannot be made
   */
  static async start(
    program: string,
    args: readonly string[],
    options: {
      readonly deathSignal: "TERM" | "KILL";
      readonly cwd?: string;
      readonly debug?: DebugSink | undefined;
      readonly onError?: (line: string) => void;
      /** A descriptor that QEMU holds until it ends: the lock on the files that it writes. */
      readonly heldFd?: number;
      /** How many socket pairs QEMU inherits beside monitor and console. */
      readonly channels?: number;
      /**
       * Open files that QEMU inherits; see {@link inheritedFile}. The caller may close its own descriptors once QEMU
       * has started.
       */
      readonly files?: readonly number[];
    },
  ): Promise<QemuProcess> {
    const {
      deathSignal,
      cwd,
      debug = silent,
      onError = () => {},
      heldFd,
      channels = 0,
      files = [],
    } = options;
    const setpriv = await findProgram("setpriv");
    const [file, ...rest] = setpriv
      ? [setpriv, "--pdeathsig", deathSignal, program, ...args]
      : [program, ...args];
    debug(`start: ${[file, ...rest].join(" ")}`);
    // `detached` gives QEMU its own process group: Ctrl-C reaches only vmtape, which ends QEMU in an orderly way.
    const child = spawn(file!, rest, {
      stdio: [
        "ignore",
        "ignore",
        "pipe",
        "pipe",
        "pipe",
        ...Array.from({ length: channels }, () => "pipe" as const),
        ...files,
        ...(heldFd === undefined ? [] : [heldFd]),
      ],
      detached: true,
      env: withTunable(process.env),
      ...(cwd !== undefined && { cwd }),
    });
    const qemu = new QemuProcess(child, debug, onError);
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => {
        reject(
          new VmtapeError(
            "qemu-failed",
            `${program} cannot be started: ${error.message}`,
            { tool: program },
            error,
          ),
        );
      });
    });
    for (const stream of [qemu.monitor, qemu.console, ...qemu.channels]) {
      // When QEMU ends, `ended` tells; but without a listener the stream's error would end this process.
      stream.on("error", () => {});
    }
    return qemu;
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.end === undefined;
  }

  /** The last line of QEMU's error output without its program-name prefix, or "". */
  get lastError(): string {
    const line = this.errors.trim().split("\n").at(-1) ?? "";
    return line.replace(/^\S*qemu-system-x86_64: /, "");
  }

  /** All kept error output (the last 16 KiB). */
  get errorOutput(): string {
    return this.errors;
  }

  /** Sends a signal, if QEMU is still running. */
  kill(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /**
   * Waits for a QEMU that is about to exit by itself. QEMU 7.2 can hang there when a monitor command is on its way
   * (`monitor_cleanup` waits for a wake-up that was lost). SIGTERM wakes it, and otherwise changes nothing.
   */
  leave(): Promise<ProcessEnd> {
    const waking = setInterval(() => this.kill("SIGTERM"), wakeMs);
    void this.ended.then(() => clearInterval(waking));
    return this.ended;
  }

  /** Ends QEMU at once, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.ended;
    this.monitor.destroy();
    this.console.destroy();
    for (const channel of this.channels) channel.destroy();
  }
}

/** Resolves when a stream is closed and all its data were read. */
function closing(stream: Readable | null): Promise<void> {
  return new Promise((resolve) => {
    if (stream) stream.once("close", resolve);
    else resolve();
  });
}

function withTunable(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const theirs = env.GLIBC_TUNABLES;
  return { ...env, GLIBC_TUNABLES: theirs ? `${theirs}:${heapOfLargePages}` : heapOfLargePages };
}
