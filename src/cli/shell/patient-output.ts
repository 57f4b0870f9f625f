import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { errnoOf } from "../../base/errors.js";

/** How often writing to a reader that does not read is tried again, in ms. */
const retryMs = 10;
/** When more bytes than this wait, {@link PatientOutput.write} returns false. */
const enoughBytes = 64 << 10;

/**
 * Output that never blocks the program. With Node's own streams a write to a terminal or pipe that is not read blocks
 * the whole process, which then sees no keys.
 */
export class PatientOutput {
  private readonly fd: number;
  /** Is it a descriptor that was opened here, to which writing never blocks? */
  private readonly own: boolean;
  /** Set when it is a socket. It cannot be opened again, but Node does not block when writing to it. */
  private readonly socket: Socket | undefined;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private failed = false;
  /** Has {@link write} returned false since there was room? */
  private full = false;
  private readonly onRoom: () => void;
  private readonly onGone: () => void;

  /**
   * @param fd 1 or 2
   * @param onRoom called when all bytes are written after {@link write} has returned false
   * @param onGone called when the other end was closed
   */
  constructor(fd: 1 | 2, onRoom: () => void = () => {}, onGone: () => void = () => {}) {
    const mine = reopen(fd);
    this.fd = mine ?? fd;
    this.own = mine !== undefined;
    this.onRoom = onRoom;
    this.onGone = onGone;
    if (fstatSync(fd).isSocket()) {
      this.socket = new Socket({ fd, readable: false, writable: true });
      this.socket.on("drain", () => this.tellRoom()).on("error", () => this.lose());
    }
  }

  /** @returns whether there is room for more */
  write(bytes: Uint8Array | string): boolean {
    if (this.failed) return true;
    const buffer = Buffer.from(bytes as string);
    if (this.socket) {
      this.full ||= !this.socket.write(buffer);
      return !this.full;
    }
    this.waiting.push(buffer);
    this.waitingBytes += buffer.length;
    if (!this.timer) this.flush();
    this.full ||= this.waitingBytes >= enoughBytes;
    return !this.full;
  }

  /** Waits until all bytes are written, but no longer than `ms` or until `signal` fires. */
  async close(ms: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + ms;
    const left = () => this.waitingBytes + (this.socket?.writableLength ?? 0);
    while (left() > 0 && !this.failed && performance.now() < deadline && !signal.aborted)
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    this.forget();
    this.socket?.unref(); // its descriptor is not closed, as it was not opened here
    if (this.own) closeSync(this.fd);
    this.failed = true;
  }

  private flush(): void {
    this.timer = undefined;
    for (let first = this.waiting[0]; first; first = this.waiting[0]) {
      let written: number;
      try {
        written = writeSync(this.fd, first);
      } catch (error) {
        if (errnoOf(error) === "EAGAIN") {
          this.timer = setTimeout(() => this.flush(), retryMs);
          return;
        }
        this.lose();
        return;
      }
      this.waitingBytes -= written;
      if (written === first.length) this.waiting.shift();
      else this.waiting[0] = first.subarray(written);
    }
    this.tellRoom();
  }

  private tellRoom(): void {
    if (!this.full) return;
    this.full = false;
    this.onRoom();
  }

  /** Ends the output when the other end was closed: what is written from then on is dropped. */
  private lose(): void {
    if (this.failed) return;
    this.failed = true;
    this.forget();
    this.tellRoom();
    this.onGone();
  }

  private forget(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.waiting = [];
    this.waitingBytes = 0;
  }
}

/** Opens a terminal or pipe again, so that the flags of the new descriptor do not change those of other processes. */
function reopen(fd: number): number | undefined {
  const kind = fstatSync(fd);
  if (!kind.isCharacterDevice() && !kind.isFIFO()) return undefined; // a file has an offset
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined; // a terminal of another user
  }
}
