import type { Duplex } from "node:stream";
import { VmtapeError } from "../base/errors.js";

interface Waiting {
  /**
   * Does the command let the machine run? Then its answer is a stop reply; for any other command a stop reply is no
   * answer.
   */
  readonly resumes: boolean;
  resolve(reply: string): void;
  reject(error: unknown): void;
}

/** Stop replies. The stub also sends them unasked, when something else has stopped the machine. */
const stopReply = /^[TSWX]/;
/** A machine that executes one instruction answers within milliseconds. */
const patienceMs = 20_000;
/**
 * The most bytes of memory that are asked for in one packet. Every stub accepts that; QEMU 7.2's limit is 4096 for a
 * packet.
 */
export const stubChunkBytes = 0x700;

/**
 * The client's side of QEMU's GDB stub, for two things that the monitor does not have: single steps, each of which
 * executes one instruction or makes one delivery of an interrupt or exception, and registers as bytes.
 *
 * Protocol: GDB manual, appendix "GDB Remote Serial Protocol".
 */
export class GdbStub {
  private readonly stream: Duplex;
  private readonly waiting: Waiting[] = [];
  private received = "";
  private acknowledges = true;
  private failure: VmtapeError | undefined;

  private constructor(stream: Duplex) {
    this.stream = stream;
    stream.setEncoding("latin1");
    stream.on("data", (text: string) => this.receive(text));
    const lost = () => this.fail(new VmtapeError("qemu-failed", "QEMU closed its GDB stub"));
    stream.on("error", lost);
    stream.on("close", lost);
    stream.on("end", lost);
  }

  /** Begins to speak to a stub over a stream, which it owns from then on. The machine must be stopped. */
  static async connect(stream: Duplex): Promise<GdbStub> {
    const stub = new GdbStub(stream);
    if ((await stub.ask("QStartNoAckMode")) === "OK") {
      stream.write("+"); // for this answer
      stub.acknowledges = false;
    }
    // QEMU answers `p` only to a client that has read its description of the registers.
    await stub.ask("qXfer:features:read:target.xml:0,ffb");
    return stub;
  }

  /** Sends a packet that does not let the machine run, and returns the answer. */
  ask(packet: string): Promise<string> {
    return this.send(packet, false);
  }

  /**
   * Executes one instruction, or makes one delivery. The machine must be stopped.
   *
   * @throws `qemu-hung` when the step does not end; `qemu-failed` when QEMU ends
   */
  async step(): Promise<void> {
    // Stop replies that the stub has sent unasked come before the answer to this, so that none is mistaken for the
    // step's.
    await this.ask("qC");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new VmtapeError("qemu-hung", `QEMU does not come back from a single step`));
      }, patienceMs);
    });
    try {
      await Promise.race([this.send("s", true), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The general registers, as {@link registerNames} of `x86-registers.ts` says. */
  async registers(): Promise<Uint8Array> {
    return Buffer.from(await this.ask("g"), "hex");
  }

  /** One register by number; undefined when there is none. */
  async register(number: number): Promise<Uint8Array | undefined> {
    return bytesOf(await this.ask(`p${number.toString(16)}`));
  }

  /** A file of QEMU's description of its registers, e.g. `target.xml`; undefined when there is none. */
  async description(annex: string): Promise<string | undefined> {
    let text = "";
    for (;;) {
      const reply = await this.ask(
        `qXfer:features:read:${annex}:${text.length.toString(16)},${stubChunkBytes.toString(16)}`,
      );
      if (!/^[lm]/.test(reply)) return undefined;
      text += unescaped(reply.slice(1));
      if (reply.startsWith("l")) return text;
    }
  }

  /**
   * Bytes at a physical address, up to {@link stubChunkBytes}. Do not ask for device memory: reading it may change
   * the device.
   */
  async readPhysical(address: bigint, length: number): Promise<Uint8Array | undefined> {
    await this.ask("Qqemu.PhyMemMode:1");
    const reply = await this.ask(`m${address.toString(16)},${length.toString(16)}`);
    await this.ask("Qqemu.PhyMemMode:0");
    return bytesOf(reply);
  }

  private send(packet: string, resumes: boolean): Promise<string> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting.push({ resumes, resolve, reject });
      this.stream.write(framed(packet), "latin1");
    });
  }

  private receive(text: string): void {
    this.received += text;
    for (;;) {
      const start = this.received.indexOf("$");
      const end = this.received.indexOf("#", start + 1);
      if (start < 0 || end < 0 || this.received.length < end + 3) return;
      const packet = this.received.slice(start + 1, end);
      this.received = this.received.slice(end + 3);
      if (this.acknowledges) this.stream.write("+");
      this.dispatch(packet);
    }
  }

  private dispatch(packet: string): void {
    const first = this.waiting[0];
    if (!first || (stopReply.test(packet) && !first.resumes)) return;
    this.waiting.shift();
    first.resolve(packet);
  }

  private fail(error: VmtapeError): void {
    this.failure ??= error;
    for (const waiting of this.waiting.splice(0)) waiting.reject(this.failure);
  }
}

function framed(packet: string): string {
  let sum = 0;
  for (let i = 0; i < packet.length; i++) sum += packet.charCodeAt(i);
  return `$${packet}#${(sum & 0xff).toString(16).padStart(2, "0")}`;
}

function bytesOf(reply: string): Uint8Array | undefined {
  return /^([0-9a-f]{2})+$/i.test(reply) ? Buffer.from(reply, "hex") : undefined;
}

/** Undoes the escaping of a packet: `}` and a character xor 0x20 stand for that character. */
function unescaped(text: string): string {
  return text.replace(/\}([\s\S])/g, (_, code: string) => String.fromCharCode(code.charCodeAt(0) ^ 0x20));
}
