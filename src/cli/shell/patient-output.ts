import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { errnoOf } from "../../base/errors.js";

/** Between two tries to write to a reader that does not read. */
const retryMs = 10;
/** When more than this waits, {@link PatientOutput.write} says so. */
const enoughBytes = 64 << 10;

/**
 * Output that never holds the program up: a terminal or a pipe that nobody reads makes Node's own streams wait in the
 * midst of a write, and then no key is heard.
 */
export class PatientOutput {
  private readonly fd: number;
  /** Is the descriptor our own, and does writing to it never wait? */
  private readonly own: boolean;
  /** Is it a socket? That cannot be opened again, but Node waits for one without standing still. */
  private readonly socket: Socket | undefined;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private failed = false;
  /** Has {@link write} said that there is no room? */
  private full = false;
  private readonly onRoom: () => void;
  private readonly onGone: () => void;

  /**
   * @param fd 1 or 2
   * @param onRoom called when all has been written after {@link write} said that much waits
   * @param onGone called when nobody can read it any more
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

  /** Waits until all is written, but no longer than `ms`, nor when `signal` has fired. */
  async close(ms: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + ms;
    const left = () => this.waitingBytes + (this.socket?.writableLength ?? 0);
    while (left() > 0 && !this.failed && performance.now() < deadline && !signal.aborted)
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    this.forget();
    this.socket?.unref(); // its descriptor is not ours to close
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

  /** Nobody can read it any more: what comes is forgotten. */
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

/** A descriptor of our own for a terminal or pipe: what is set on it holds for nobody else. */
function reopen(fd: number): number | undefined {
  const kind = fstatSync(fd);
  if (!kind.isCharacterDevice() && !kind.isFIFO()) return undefined; // a file has its offset; a socket cannot be opened
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined; // a terminal of somebody else
  }
}
