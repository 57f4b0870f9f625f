import { setTimeout as delay } from "node:timers/promises";
import { SerialReceiver } from "../qemu/serial-receiver.js";

/** The access of a {@link Typewriter} to the serial port of a running QEMU. */
export interface SerialLine {
  /** Puts bytes into the pipe that QEMU reads; at most 16. */
  write(bytes: Uint8Array): void;
  /** Has QEMU read all bytes of the pipe? */
  isTaken(): boolean;
  /** The instructions executed so far. */
  executed(): Promise<bigint>;
  /** Makes QEMU report each access to the port, or ends that. Resolves to whether QEMU did so. */
  trace(on: boolean): Promise<boolean>;
  /** Reads all of QEMU's reports up to now. */
  hear(): void;
}

/** After so many ms without a report it is checked whether bytes have arrived. */
const silenceMs = 10;
/** How often it is checked whether the guest has executed something, in ms: at first, and at most after doubling. */
const lookMs = 1;
const longestLookMs = 64;
/**
 * How long QEMU goes on reporting after the last byte, since more may be typed; longer while the guest has not read
 * all bytes.
 */
const attentionMs = 2000;
const longAttentionMs = 60_000;
/** After so many reports while nothing is typed, reporting ends: it would slow down a guest that prints much. */
const mostIdleLines = 20_000;

interface Piece {
  readonly bytes: Uint8Array;
  done: number;
  readonly settle: () => void;
}

/**
 * Types bytes into a serial port at the speed at which the guest reads them, each once and in order.
 *
 * Why not simply write them? While recording, QEMU asks the port how much it can take, reads that much, and hands it
 * over when the processor wakes up (for an idle guest at its next timer, some milliseconds later). When QEMU asks
 * again before that, the port promises the same room twice, and what does not fit is lost. So no more bytes may be on
 * their way than the port's buffer holds ({@link SerialReceiver}): 16, as soon as it is known that the guest has its
 * FIFO on. While the guest reads one batch, the next one already waits in QEMU's queue, and the port's own timeout
 * (0.35 ms after a byte) wakes the processor for it.
 *
 * When it is not known what the guest has read, a byte is sent once those before have certainly arrived: QEMU has
 * read them, and the guest has executed something since. The room that the port promises is right then.
 */
export class Typewriter {
  private readonly line: SerialLine;
  private readonly receiver = new SerialReceiver();
  private queue: Piece[] = [];
  private length = 0;
  private running: Promise<void> | undefined;
  private tracing = false;
  private blind = false;
  private attention: NodeJS.Timeout | undefined;
  private idleLines = 0;
  private wake = () => {};
  private readonly ended: AbortSignal;

  /** @param ended fires when QEMU has ended: nothing is typed from then on */
  constructor(line: SerialLine, ended: AbortSignal) {
    this.line = line;
    this.ended = ended;
    ended.addEventListener("abort", () => {
      clearTimeout(this.attention);
      this.drop();
      this.wake();
    });
  }

  /**
   * Must be called when the machine has just started. Bytes that are typed before the guest's driver has started are
   * kept until then, since the driver empties the port when it starts.
   */
  async begin(): Promise<void> {
    await this.listen();
    this.attend(longAttentionMs);
  }

  /** How many bytes have not been sent to the guest yet. */
  get waiting(): number {
    return this.length;
  }

  /** Resolves when the bytes have arrived in the port, or have been dropped, or QEMU has ended. */
  type(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0 || this.ended.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.queue.push({ bytes: Uint8Array.from(bytes), done: 0, settle: resolve });
      this.length += bytes.length;
      this.wake();
      this.start();
    });
  }

  private start(): void {
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
  }

  /** Drops the bytes that have not been sent yet. @returns how many they were */
  drop(): number {
    const dropped = this.length;
    for (const piece of this.queue) piece.settle();
    this.queue = [];
    this.length = 0;
    return dropped;
  }

  /** Takes a line of QEMU's reports. */
  hear(text: string): void {
    if (!this.running && ++this.idleLines === mostIdleLines) this.attend(0);
    if (!this.receiver.hear(text)) return;
    this.wake();
    if (this.running) return;
    if (this.receiver.hasReturned) this.start();
    else if (this.receiver.isListening) this.attend(attentionMs);
  }

  private async listen(): Promise<void> {
    if (this.tracing || this.blind) return;
    this.tracing = await this.line.trace(true);
    this.blind = !this.tracing;
    if (this.blind) this.receiver.forget();
  }

  /** Has QEMU report for `ms` more. */
  private attend(ms: number): void {
    clearTimeout(this.attention);
    this.attention = setTimeout(() => void this.rest(), ms).unref();
  }

  private async run(): Promise<void> {
    clearTimeout(this.attention);
    this.idleLines = 0;
    await this.listen();
    const sent: Piece[] = [];
    let deaf = false;
    this.takeBack();
    while (!this.ended.aborted && (this.length > 0 || this.receiver.unread > 0)) {
      this.takeBack();
      if (this.receiver.isDeaf) deaf = true;
      else if (deaf) {
        deaf = await this.news(silenceMs); // a starting driver switches things on and off: wait until it is done
        continue;
      }
      if (!deaf && this.sendWhatFits(this.receiver.room, sent)) continue;
      if (await this.news(this.blind ? lookMs : silenceMs)) continue;
      if (!this.receiver.hasArrived && !(await this.settled())) continue;
      for (const piece of sent.splice(0)) piece.settle();
      if (this.length === 0) break;
      if ((this.blind || this.receiver.isUncertain) && !deaf) this.sendWhatFits(1, sent);
    }
    for (const piece of sent) piece.settle();
    this.attend(this.receiver.unread > 0 ? longAttentionMs : attentionMs);
  }

  /** Puts up to `room` bytes into the pipe. Pieces whose last byte was among them are added to `sent`. */
  private sendWhatFits(room: number, sent: Piece[]): boolean {
    const bytes: number[] = [];
    while (bytes.length < room) {
      const piece = this.queue[0];
      if (!piece) break;
      const part = piece.bytes.subarray(piece.done, piece.done + room - bytes.length);
      bytes.push(...part);
      piece.done += part.length;
      if (piece.done < piece.bytes.length) continue;
      this.queue.shift();
      sent.push(piece);
    }
    if (bytes.length === 0) return false;
    this.length -= bytes.length;
    this.receiver.send(bytes);
    this.line.write(Uint8Array.from(bytes));
    return true;
  }

  /** Queues the bytes again that the guest's driver discarded when it started. */
  private takeBack(): void {
    const bytes = this.receiver.takeReturned();
    if (bytes.length === 0) return;
    this.queue.unshift({ bytes: Uint8Array.from(bytes), done: 0, settle: () => {} });
    this.length += bytes.length;
  }

  /** Waits until there is news of the port, or more to type. @returns false when neither came within `ms` */
  private news(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (heard: boolean) => {
        clearTimeout(timer);
        this.wake = () => {};
        resolve(heard);
      };
      const timer = setTimeout(finish, ms, false);
      this.wake = () => finish(true);
    });
  }

  /** Have all bytes certainly arrived? */
  private async settled(): Promise<boolean> {
    if (!this.line.isTaken()) return false;
    const before = await this.line.executed();
    for (let ms = lookMs; !this.ended.aborted && (await this.line.executed()) === before; ms *= 2)
      await delay(Math.min(ms, longestLookMs));
    if (this.ended.aborted) return false;
    this.line.hear();
    this.receiver.settle();
    return true;
  }

  private async rest(): Promise<void> {
    if (this.running || !this.tracing) return;
    this.tracing = false;
    await this.line.trace(false);
    this.receiver.forget();
  }
}
