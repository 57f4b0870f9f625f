import { print } from "./output.js";

const mostHeld = 1 << 15;

/** Writes many short lines to stdout, several in one write. Lines wait only while the next ones are being made. */
export class LineWriter {
  private readonly signal: AbortSignal;
  private held = "";
  private waiting: NodeJS.Immediate | undefined;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** Adds a line. Waits while stdout takes no more. */
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
