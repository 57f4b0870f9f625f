import type { Duplex } from "node:stream";
import { isVmtapeError } from "../base/errors.js";
import type { DebugTarget } from "../replay/session/timeline-types.js";
import type { ClientState, Conversation } from "./command.js";
import { findCommand } from "./command-table.js";
import { packetBytes } from "./commands-general.js";
import type { MonitorDesk } from "./monitor-desk.js";
import { framePacket, type Incoming, PacketReader } from "./packet.js";
import { ClientPoints } from "./points.js";
import { errorNumber, formatRefusal, Refusal, type Reply, unsupported } from "./reply.js";
import { ShownValues } from "./shown-values.js";

/** The most packets that wait for their turn. When there are more, nothing is read until some are answered. */
const mostWaiting = 64;
/** After so many damaged packets or stray bytes in a row the client is taken for no debugger. */
const mostDamage = 256;
/** A client that reads no answers for so long counts as gone. */
const drainMs = 30_000;
/** When more bytes of answers are unread, the connection waits for the client. */
const longestBacklog = 1 << 20;
/** The most bytes of text in one `O` packet; longer texts are cut into several packets. */
const textBytes = 1024;

/** How a conversation ended. `dropped`: the client did not speak this protocol. */
export type ConversationEnd = "detached" | "killed" | "gone" | "dropped";

interface Waiting {
  readonly body: string;
  /** Fires when this packet is interrupted. */
  readonly interrupt: AbortController;
}

/** The conversation with one client. It finds packets in the bytes, and answers them one after another. */
export class Connection {
  private readonly stream: Duplex;
  private readonly conversation: Omit<Conversation, "signal">;
  private readonly reader = new PacketReader(packetBytes);
  private readonly waiting: Waiting[] = [];
  private current: Waiting | undefined;
  private lastSent: Uint8Array = new Uint8Array();
  private damage = 0;
  /** Has the client sent a packet yet? */
  private greeted = false;
  private end: ConversationEnd | undefined;
  private wake: (() => void) | undefined;

  private constructor(stream: Duplex, target: DebugTarget, desk: MonitorDesk, onRefusedWrite: () => void) {
    this.stream = stream;
    const state: ClientState = {
      errorStyle: "text",
      isLldb: false,
      isGdb: false,
      features: { swbreak: false, hwbreak: false, multiprocess: false },
      binaryPrefix: true,
      noAcknowledgement: false,
      lastStop: undefined,
      files: new Map(),
      nextFile: 3,
      leaving: undefined,
    };
    const points = new ClientPoints(target);
    this.conversation = {
      target,
      desk,
      points,
      shown: new ShownValues(target, points),
      state,
      print: (text) => this.print(text),
      writeRefused: onRefusedWrite,
      pulse: () => this.send("O"),
    };
    stream.on("data", (bytes: Uint8Array) => this.receive(bytes));
    for (const event of ["end", "close", "error"]) stream.on(event, () => this.finish("gone"));
  }

  /**
   * Serves a client until it leaves. Then its points are removed; the target stays where it is. Never rejects: the
   * client gets an error for what fails.
   *
   * @param onRefusedWrite called when the client asks to write memory, since clients do not show their users the
   *   reason of the refusal
   */
  static async serve(
    stream: Duplex,
    target: DebugTarget,
    desk: MonitorDesk,
    onRefusedWrite: () => void = () => {},
  ): Promise<ConversationEnd> {
    const connection = new Connection(stream, target, desk, onRefusedWrite);
    try {
      return await connection.answerAll();
    } finally {
      connection.conversation.points.clear();
      if (connection.end === "detached") stream.end();
      else stream.destroy();
    }
  }

  private receive(bytes: Uint8Array): void {
    for (const incoming of this.reader.read(bytes)) {
      if (this.end) return;
      this.take(incoming);
    }
    if (this.waiting.length >= mostWaiting) this.stream.pause();
  }

  private take(incoming: Incoming): void {
    switch (incoming.kind) {
      case "packet":
        this.damage = 0;
        this.greeted = true;
        this.acknowledge("+");
        this.waiting.push({ body: incoming.body, interrupt: new AbortController() });
        this.wake?.();
        return;
      case "interrupt":
        // An interrupt is meant for the last packet before it. When that is answered already, the interrupt is too
        // late.
        (this.waiting.at(-1) ?? this.current)?.interrupt.abort();
        return;
      case "damaged":
        this.acknowledge("-");
        if (this.conversation.state.noAcknowledgement) {
          // Without acknowledgements the client does not repeat it, but waits for its answer.
          this.send(this.format(new Refusal(`the packet is damaged (${incoming.why})`, errorNumber.io)));
        }
        this.blame();
        return;
      case "resend":
        if (!this.conversation.state.noAcknowledgement) this.stream.write(this.lastSent);
        this.blame();
        return;
      case "junk":
        // A client that begins with stray bytes is none: a browser that a web page sends here, for example, begins
        // with a letter.
        if (this.greeted) this.blame();
        else this.finish("dropped");
        return;
      case "acknowledged":
        return;
    }
  }

  private blame(): void {
    if (++this.damage >= mostDamage) this.finish("dropped");
  }

  private finish(end: ConversationEnd): void {
    this.end ??= end;
    this.current?.interrupt.abort();
    this.wake?.();
  }

  private async answerAll(): Promise<ConversationEnd> {
    for (;;) {
      if (this.end) return this.end;
      this.current = this.waiting.shift();
      if (!this.current) {
        this.stream.resume();
        await this.nextEvent();
        continue;
      }
      await this.answer(this.current);
      this.current = undefined;
      if (this.conversation.state.leaving) this.finish(this.conversation.state.leaving);
    }
  }

  private nextEvent(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = undefined;
        resolve();
      };
    });
  }

  private async answer({ body, interrupt }: Waiting): Promise<void> {
    const found = findCommand(body);
    const conversation: Conversation = { ...this.conversation, signal: interrupt.signal };
    const reply = found ? await orRefusal(() => found.command.answer(conversation, found.text)) : unsupported;
    if (reply !== undefined) this.send(this.format(reply));
    await this.drained();
  }

  private format(reply: NonNullable<Reply>): string {
    return typeof reply === "string" ? reply : formatRefusal(reply, this.conversation.state.errorStyle);
  }

  private print(text: string): void {
    const bytes = Buffer.from(text, "utf8");
    for (let i = 0; i < bytes.length; i += textBytes) {
      this.send(`O${bytes.subarray(i, i + textBytes).toString("hex")}`);
    }
  }

  private acknowledge(sign: "+" | "-"): void {
    if (!this.conversation.state.noAcknowledgement) this.stream.write(sign);
  }

  private send(body: string): void {
    if (this.end) return;
    this.lastSent = framePacket(body);
    this.stream.write(this.lastSent);
  }

  /** Waits while many bytes of answers are unread. */
  private async drained(): Promise<void> {
    if (this.end || this.stream.writableLength < longestBacklog) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.finish("dropped");
        resolve();
      }, drainMs);
    });
    const drain = new Promise<void>((resolve) => {
      this.stream.once("drain", resolve);
      this.stream.once("close", resolve);
    });
    await Promise.race([drain, late]);
    clearTimeout(timer);
  }
}

/** Turns a failure into a sentence for the client, also one that is a defect of vmtape: the server goes on. */
async function orRefusal(answer: () => Reply | Promise<Reply>): Promise<Reply> {
  try {
    return await answer();
  } catch (error) {
    const busy = isVmtapeError(error, "cancelled");
    const message = error instanceof Error ? error.message : String(error);
    return new Refusal(message, busy ? errorNumber.busy : errorNumber.io);
  }
}
