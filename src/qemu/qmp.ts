import type { Duplex } from "node:stream";
import { VmtapeError } from "../base/errors.js";

/** An asynchronous message of QEMU. Source: QEMU's `docs/interop/qmp-spec`, `qapi/*.json`. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What `query-replay` answers. */
export interface ReplayStatus {
  readonly mode: "none" | "record" | "play";
  readonly icount: bigint;
}

interface Waiting {
  readonly command: string;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** The longest message; what is longer is not QMP. */
const longestMessage = 64 << 20;

/**
 * QEMU's machine protocol over a connected stream: one JSON object a line, answers matched by id.
 */
export class Qmp {
  /** Resolves when QEMU has accepted the connection; commands need not wait for it. */
  readonly ready: Promise<void>;
  private readonly waiting = new Map<number, Waiting>();
  private readonly listeners = new Set<(event: QmpEvent) => void>();
  private readonly stream: Duplex;
  private nextId = 1;
  private pending: string[] = [];
  private pendingLength = 0;
  private failure: VmtapeError | undefined;

  private constructor(stream: Duplex) {
    this.stream = stream;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.receive(text));
    const lost = () => this.fail(new VmtapeError("qemu-failed", "QEMU closed its monitor"));
    stream.on("error", lost);
    stream.on("close", lost);
    stream.on("end", lost);
    this.ready = this.execute("qmp_capabilities").then(() => {});
    this.ready.catch(() => {}); // its error is thrown where it, or a command, is awaited
  }

  /**
   * Speaks QMP over `stream`, which it owns from then on. Commands may be sent at once, before QEMU is ready, up to 7
   * of them: QEMU serves them in order, and loses no time between them.
   */
  static open(stream: Duplex): Qmp {
    return new Qmp(stream);
  }

  /** As {@link open}, and waits until QEMU accepts commands. */
  static async connect(stream: Duplex): Promise<Qmp> {
    const qmp = Qmp.open(stream);
    await qmp.ready;
    return qmp;
  }

  /** Has QEMU closed the connection, or sent something that is not QMP? */
  get closed(): boolean {
    return this.failure !== undefined;
  }

  /**
   * Runs one command.
   *
   * @throws `qemu-failed` when QEMU answers with an error, or ends before it answers
   */
  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.failure) return Promise.reject(this.failure);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { command, resolve, reject });
      this.stream.write(
        `${JSON.stringify({ execute: command, ...(args && { arguments: args }), id }, bigintAsNumber)}\n`,
      );
    });
  }

  /** Runs a command of the human monitor, and returns the text that it prints. */
  async human(commandLine: string): Promise<string> {
    return String(await this.execute("human-monitor-command", { "command-line": commandLine }));
  }

  /** Mode and instruction count. */
  async replayStatus(): Promise<ReplayStatus> {
    const status = (await this.execute("query-replay")) as { mode: ReplayStatus["mode"]; icount: number };
    return { mode: status.mode, icount: BigInt(status.icount) };
  }

  /** QEMU's run state, e.g. `running`, `paused`, `debug`, `shutdown`. */
  async runState(): Promise<string> {
    return ((await this.execute("query-status")) as { status: string }).status;
  }

  /** Calls `listener` for every event. The function that is returned ends that. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private receive(text: string): void {
    const lines = text.split("\n");
    for (const [i, line] of lines.entries()) {
      this.pending.push(line);
      this.pendingLength += line.length;
      if (this.pendingLength > longestMessage) {
        this.fail(new VmtapeError("protocol-error", "QEMU's monitor sent a message without an end"));
        this.stream.destroy();
        return;
      }
      if (i === lines.length - 1) return;
      const whole = this.pending.join("").trim();
      this.pending = [];
      this.pendingLength = 0;
      if (whole) this.dispatch(whole);
    }
  }

  private dispatch(line: string): void {
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(line) as Record<string, unknown>;
    } catch {
      this.fail(
        new VmtapeError("protocol-error", "QEMU's monitor sent something that is no JSON", {
          got: line.slice(0, 80),
        }),
      );
      return;
    }
    if (typeof message.event === "string") {
      const event = { event: message.event, data: (message.data ?? {}) as Record<string, unknown> };
      for (const listener of [...this.listeners]) listener(event);
      return;
    }
    const waiting = this.waiting.get(message.id as number);
    if (!waiting) return;
    this.waiting.delete(message.id as number);
    const error = message.error as { desc?: string } | undefined;
    if (error) {
      waiting.reject(
        new VmtapeError("qemu-failed", `QEMU refused ${waiting.command}: ${error.desc}`, { got: error.desc }),
      );
    } else {
      waiting.resolve(message.return);
    }
  }

  private fail(error: VmtapeError): void {
    this.failure ??= error;
    for (const waiting of this.waiting.values()) waiting.reject(this.failure);
    this.waiting.clear();
  }
}

/** Writes bigints as JSON numbers: instruction counts are far below 2^53. */
function bigintAsNumber(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
