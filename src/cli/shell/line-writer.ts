import { print } from "./output.js";

const mostHeld = 1 << 15;

/** Writes many short lines to stdout, several at a time: they are held no longer than it takes to make the next ones. */
export class LineWriter {
  private readonly signal: AbortSignal;
  private held = "";
  private waiting: NodeJS.Immediate | undefined;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** Waits while stdout takes no more. */
  async add(line: string): Promise<void> {
    this.held += line;
    if (this.held.length >= mostHeld) return this.flush();
    this.waiting ??= setImmediate(() => void this.flush());
  }

  flush(): Promise<void> {
    if (this.waiting) clearImmediate(this.waiting);
    this.waiting = undefined;
    const { held } = this;
    this.held = "";
    return print(held, this.signal);
  }
}
