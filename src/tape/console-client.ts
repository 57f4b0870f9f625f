import type { Socket } from "node:net";
import {
  type ConsoleState,
  clientFrames,
  encodeFrame,
  FrameReader,
  longestPayload,
  serverFrames,
} from "./console-frames.js";

/**
 * How many bytes may be sent that the guest has not been given yet. The others wait here, where they can be dropped
 * at once.
 */
const window = 16 << 10;
/** Bytes are sent in pieces of this size, so that the next piece has arrived before the last one was typed. */
const pieceBytes = 2 << 10;

/** What a client receives. */
export interface ConsoleListener {
  onOutput(bytes: Buffer): void;
  onState(state: ConsoleState): void;
}

/** A client at the console of a recording. It receives what the guest prints, and types when it has the keyboard. */
export class ConsoleClient {
  /** Resolves when the connection has ended: after a detach, or because the recording has ended. */
  readonly ended: Promise<void>;
  private readonly socket: Socket;
  private readonly reader = new FrameReader();
  private unsent: Buffer[] = [];
  private unsentBytes = 0;
  private underWay = 0;
  /** The client has left; what still arrives is ignored. */
  private left = false;
  private readonly idle: (() => void)[] = [];
  private current: ConsoleState = { keyboard: "free" };

  /** @param socket has joined the console and is paused; this client starts reading it */
  constructor(socket: Socket, listener: ConsoleListener) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      socket.once("close", () => {
        this.forget();
        this.underWay = 0;
        this.tellIdle();
        resolve();
      });
    });
    socket.on("data", (bytes: Buffer) => this.hear(bytes, listener)).resume();
  }

  /** Who has the keyboard, as the recorder last said. */
  get state(): ConsoleState {
    return this.current;
  }

  /** How many bytes the guest has not been given yet. */
  get waiting(): number {
    return this.unsentBytes + this.underWay;
  }

  /**
   * Types bytes when this client has the keyboard or it is free. Otherwise they are dropped, and `onState` is called
   * again.
   */
  type(bytes: Uint8Array): void {
    this.unsent.push(Buffer.from(bytes));
    this.unsentBytes += bytes.length;
    this.send();
  }

  /** Resolves when nothing waits to be typed any more, or the connection has ended. */
  typed(): Promise<void> {
    if (this.waiting === 0 || this.socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  /** Takes the keyboard, also from another client. */
  take(): void {
    this.socket.write(encodeFrame(clientFrames.take));
  }

  /** Drops the bytes that wait to be typed. @returns about how many they were */
  drop(): number {
    const dropped = this.waiting;
    this.forget();
    this.socket.write(encodeFrame(clientFrames.drop));
    return dropped;
  }

  /** Leaves the console. The recording goes on, and the bytes that wait are typed. */
  detach(): void {
    if (this.left) return;
    this.send(Number.POSITIVE_INFINITY);
    this.left = true;
    this.socket.end(encodeFrame(clientFrames.detach));
    this.socket.resume();
  }

  /** Closes the connection without detaching. When this client is the recording's owner, that ends the recording. */
  leave(): void {
    if (this.left) return;
    this.left = true;
    this.socket.end();
    this.socket.resume();
  }

  /** Stops reading until {@link resume}, while the caller cannot take more output. */
  pause(): void {
    if (!this.left) this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  private send(limit = window): void {
    while (this.unsent.length > 0 && this.underWay < limit) {
      const first = this.unsent[0]!;
      const part = first.subarray(
        0,
        Math.min(limit === window ? pieceBytes : longestPayload, limit - this.underWay),
      );
      if (part.length === first.length) this.unsent.shift();
      else this.unsent[0] = first.subarray(part.length);
      this.unsentBytes -= part.length;
      this.underWay += part.length;
      this.socket.write(encodeFrame(clientFrames.keys, part));
    }
  }

  private forget(): void {
    this.unsent = [];
    this.unsentBytes = 0;
  }

  private tellIdle(): void {
    if (this.waiting > 0) return;
    for (const resolve of this.idle.splice(0)) resolve();
  }

  private hear(bytes: Buffer, listener: ConsoleListener): void {
    const frames = this.reader.read(bytes);
    if (!frames) {
      this.socket.destroy();
      return;
    }
    for (const { kind, payload } of frames) {
      if (kind === serverFrames.output && !this.left) listener.onOutput(payload);
      else if (kind === serverFrames.typed) {
        this.underWay = Math.max(0, this.underWay - payload.readUInt32BE(0));
        this.send();
        this.tellIdle();
      } else if (kind === serverFrames.state && !this.left) {
        this.current = JSON.parse(payload.toString("utf8")) as ConsoleState;
        listener.onState(this.current);
      }
    }
  }
}
