import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import type { Socket } from "node:net";
import {
  type ConsoleState,
  clientFrames,
  encodeFrame,
  type Frame,
  FrameReader,
  longestPayload,
  serverFrames,
} from "./console-frames.js";
import type { Keyboard, Typist } from "./keyboard.js";

/** The console of a running recording, with all that a seat needs of it. */
export interface SharedConsole {
  /** The file that holds what the guest prints. */
  readonly file: string;
  /** How many bytes have been printed. */
  readonly printed: number;
  readonly keyboard: Keyboard;
  /** Calls `listener` when more has been printed. The function that is returned ends that. */
  onPrinted(listener: () => void): () => void;
  type(bytes: Uint8Array): Promise<void>;
  /** Drops the bytes that wait to be typed. */
  drop(): void;
}

/** How a client joins the console. */
export interface SeatWish {
  /**
   * `owner`: types, and the recording ends when it closes the connection without a detach. `type`: may type. `watch`:
   * never types.
   */
  readonly role: "owner" | "type" | "watch";
  /** The client's name, for the other clients. */
  readonly name: string;
  /** Also show what was printed before (at most the last 64 KiB). */
  readonly past: boolean;
}

const longestPast = 64 << 10;
/** How many bytes may wait in a socket. More are read from the file when there is room again. */
const longestBacklog = 256 << 10;

/**
 * One client at the console of a recording. What the guest prints is read from the console's file at the pace at
 * which the client takes it. So a client that does not read holds up nothing, needs no memory, and misses nothing.
 */
export class ConsoleSeat implements Typist {
  readonly name: string;
  private readonly socket: Socket;
  private readonly console: SharedConsole;
  private readonly role: SeatWish["role"];
  private readonly reader = new FrameReader();
  private position: number;
  private file: FileHandle | undefined;
  private showing: Promise<void> | undefined;
  private finishing = false;
  private detached = false;
  private readonly forget: (() => void)[];

  /** @param onLeave called once when the client has gone, with whether it had detached */
  constructor(socket: Socket, console: SharedConsole, wish: SeatWish, onLeave: (detached: boolean) => void) {
    this.socket = socket;
    this.console = console;
    this.role = wish.role;
    this.name = wish.name;
    this.position = wish.past ? Math.max(0, console.printed - longestPast) : console.printed;
    this.forget = [console.onPrinted(() => this.show()), console.keyboard.onChange(() => this.tellState())];
    socket.on("drain", () => this.show());
    socket.on("data", (bytes: Buffer) => this.hear(bytes));
    socket.on("close", () => {
      for (const stop of this.forget) stop();
      console.keyboard.release(this);
      void this.showing?.then(() => {}, () => {}).then(() => this.file?.close()); // biome-ignore format: short
      if (!this.showing) void this.file?.close();
      onLeave(this.detached);
    });
    if (!(this.role !== "watch" && console.keyboard.holder === undefined && console.keyboard.claim(this)))
      this.tellState();
    this.show();
  }

  /** Sends the rest of the output, and closes the connection. To be called when nothing more will be printed. */
  finish(patienceMs: number): void {
    this.finishing = true;
    this.show();
    setTimeout(() => this.socket.destroy(), patienceMs).unref();
  }

  private show(): void {
    this.showing ??= this.showNew().then(
      () => {
        this.showing = undefined;
        if (this.isBehind()) this.show();
      },
      () => void this.socket.destroy(), // the file cannot be read
    );
  }

  /** Is there output that could be sent now? */
  private isBehind(): boolean {
    const { socket } = this;
    return (
      !socket.destroyed && socket.writableLength < longestBacklog && this.position < this.console.printed
    );
  }

  private async showNew(): Promise<void> {
    const { socket } = this;
    while (this.isBehind()) {
      this.file ??= await open(this.console.file, "r");
      const block = Buffer.alloc(Math.min(longestPayload, this.console.printed - this.position));
      const { bytesRead } = await this.file.read(block, 0, block.length, this.position);
      if (bytesRead === 0) break;
      this.position += bytesRead;
      if (socket.writable) socket.write(encodeFrame(serverFrames.output, block.subarray(0, bytesRead)));
    }
    if (this.finishing && this.position >= this.console.printed) socket.end();
  }

  private hear(bytes: Buffer): void {
    const frames = this.reader.read(bytes);
    if (!frames) {
      this.socket.destroy();
      return;
    }
    for (const frame of frames) this.obey(frame);
  }

  private obey({ kind, payload }: Frame): void {
    const { console, socket } = this;
    switch (kind) {
      case clientFrames.keys:
        if (this.role === "watch" || !console.keyboard.claim(this)) {
          this.acknowledge(payload.length);
          this.tellState(); // the client thought that it had the keyboard
          return;
        }
        void console.type(payload).then(() => this.acknowledge(payload.length));
        return;
      case clientFrames.take:
        if (this.role !== "watch") console.keyboard.take(this);
        return;
      case clientFrames.drop:
        if (console.keyboard.holder === this) console.drop();
        return;
      case clientFrames.detach:
        this.detached = true;
        console.keyboard.release(this);
        socket.end();
        return;
      default:
        socket.destroy();
    }
  }

  private acknowledge(count: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(count);
    this.tell(serverFrames.typed, bytes);
  }

  private tellState(): void {
    const { holder } = this.console.keyboard;
    const state: ConsoleState =
      holder === undefined
        ? { keyboard: "free" }
        : holder === this
          ? { keyboard: "yours" }
          : { keyboard: "taken", holder: holder.name };
    this.tell(serverFrames.state, Buffer.from(JSON.stringify(state)));
  }

  private tell(kind: number, payload: Buffer): void {
    if (this.socket.writable) this.socket.write(encodeFrame(kind, payload));
  }
}
