import type { Socket } from "node:net";
import { VmtapeError } from "../base/errors.js";
import { type Icount, icount } from "../base/units.js";

/** A running machine that the guard is holding: see {@link GuardChannel.freeze}. */
export interface Frozen {
  /** Instructions executed; the log has no event at this icount yet. */
  readonly icount: Icount;
  /** Requests made to disks so far; QEMU numbers them from 0. */
  readonly requests: bigint;
  /** QEMU's `info registers`. */
  readonly registers: string;
}

interface Answer {
  readonly answer?: string;
  readonly error?: string;
  readonly icount?: number;
  readonly requests?: number;
  readonly registers?: string;
  readonly packets?: number;
}

/** QEMU's options that load the guard, with its control socket on descriptor `fd`. */
export function guardArguments(guard: string, fd: number): string[] {
  return ["-plugin", `${guard},control=${fd}`];
}

/**
 * Speaks to the guard (`plugin/guard`) of one QEMU. A command is a line, its answer a line of JSON.
 */
export class GuardChannel {
  private readonly socket: Socket;
  private readonly waiting: { resolve(answer: Answer): void; reject(error: unknown): void }[] = [];
  private lost: VmtapeError | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    let pending = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      const lines = (pending + text).split("\n");
      pending = lines.pop()!;
      for (const line of lines) this.receive(line);
    });
    socket.on("close", () => this.lose());
    socket.on("end", () => this.lose());
  }

  /**
   * Holds a running machine between two instructions until {@link thaw}, and at most 30 s: nothing of QEMU runs, not
   * even its monitor. To the guest it looks like a slow host, and the log has no trace of it.
   *
   * @param mostMs how long to look for an instant at which a replay can stop. An idle guest has one at its next timer
   *   tick
   * @returns undefined when there was none
   * @throws `qemu-failed` when QEMU is gone
   */
  async freeze(mostMs: number): Promise<Frozen | undefined> {
    const { icount: at, requests, registers } = await this.ask(`freeze ${mostMs}`);
    if (at === undefined || registers === undefined) return undefined;
    return { icount: icount(BigInt(at)), requests: BigInt(requests ?? 0), registers };
  }

  /** Lets the machine that {@link freeze} holds go on. */
  async thaw(): Promise<void> {
    await this.ask("thaw");
  }

  /**
   * Wakes an idle guest's processor when input for it arrives within `mostMs`. Without this QEMU lets it sleep until
   * the guest's next timer.
   */
  async wake(mostMs: number): Promise<void> {
    await this.ask(`wake ${mostMs}`);
  }

  /** The number of packets that wait until the guest has buffers for them. A checkpoint would lose them. */
  async packetsWaiting(): Promise<number> {
    return (await this.ask("waiting")).packets ?? 0;
  }

  private ask(command: string): Promise<Answer> {
    if (this.lost) return Promise.reject(this.lost);
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.socket.write(`${command}\n`);
    });
  }

  private receive(line: string): void {
    const waiting = this.waiting.shift();
    try {
      const answer = JSON.parse(line) as Answer;
      if (answer.error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new VmtapeError("usage", `the guard refused: ${answer.error}`));
    } catch {
      waiting?.reject(
        new VmtapeError("protocol-error", "the guard sent a line that is no JSON", { got: line }),
      );
    }
  }

  private lose(): void {
    this.lost ??= new VmtapeError("qemu-failed", "QEMU went away with the guard");
    for (const waiting of this.waiting.splice(0)) waiting.reject(this.lost);
  }
}
