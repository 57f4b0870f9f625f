import { VmtapeError } from "../base/errors.js";
import type { BranchSelection } from "../formats/branch-log-layout.js";
import type { PluginChannel, PluginEnd, PluginPoint } from "../qemu/plugin-channel.js";
import { BranchLogWriter } from "./branch-log-writer.js";

/** What of a window a log depends on. */
export interface LoggedWindow {
  readonly end: PluginPoint;
  readonly selection?: BranchSelection;
}

/** What a log says of where it comes from. */
export interface WindowLogFacts {
  readonly tape: string;
  readonly qemu: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The branch log of a window, as the plugin sends it. Records come by one socket of the plugin's, and where the window begins
 * and ends by another: neither is waited for in the order of the other.
 */
export class WindowLog implements AsyncDisposable {
  private readonly channel: Pick<PluginChannel, "chunks" | "reachedAt" | "whenReached">;
  private readonly window: LoggedWindow;
  private readonly output: string | undefined;
  private readonly facts: WindowLogFacts;
  private writer: BranchLogWriter | undefined;

  /** @param output where the log goes; none: the records are read and dropped */
  constructor(
    channel: Pick<PluginChannel, "chunks" | "reachedAt" | "whenReached">,
    window: LoggedWindow,
    output: string | undefined,
    facts: WindowLogFacts,
  ) {
    this.channel = channel;
    this.window = window;
    this.output = output;
    this.facts = facts;
  }

  /**
   * Writes chunks as they come, to the stream's end.
   *
   * @throws `qemu-failed` when the stream breaks off; `disk-full`, `not-writable`, `cancelled`
   */
  async read(): Promise<PluginEnd> {
    const chunks = this.channel.chunks();
    for (;;) {
      const { value, done } = await chunks.next();
      if (done) return value;
      if (this.output === undefined) continue;
      this.writer ??= await this.begin(this.output);
      await this.writer.addChunk(value, "the branch plugin's chunk");
    }
  }

  /**
   * Lets the log appear, if its window was met. All that the plugin tells must have come: an answer of the stopped machine comes
   * after all of it.
   *
   * @returns bytes of the log; 0 without one
   */
  async finish(end: PluginEnd): Promise<number> {
    if (this.output === undefined || !this.isComplete(end)) return 0;
    this.writer ??= await this.begin(this.output); // no record fell into it
    const { bytes } = await this.writer.finish({ brctr: Number(end.brctr), icount: Number(end.icount) });
    return bytes;
  }

  /** What was not finished does not appear. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer?.[Symbol.asyncDispose]();
  }

  private isComplete({ reason, icount }: PluginEnd): boolean {
    const start = this.channel.reachedAt("start");
    if (!start || icount < start.icount) return false;
    return reason === "window" || this.window.end.at === "never";
  }

  private async begin(path: string): Promise<BranchLogWriter> {
    const start = await this.channel.whenReached("start");
    if (!start) throw new VmtapeError("qemu-failed", "QEMU went away before it told where the window begins");
    const { tape, qemu, signal } = this.facts;
    const facts = {
      tape,
      qemu,
      selection: this.window.selection ?? "all",
      startBrctr: Number(start.brctr),
      startIcount: Number(start.icount),
    };
    return BranchLogWriter.create(path, facts, { signal });
  }
}
