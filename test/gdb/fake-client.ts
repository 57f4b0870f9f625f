import { Duplex } from "node:stream";
import { Connection, type ConversationEnd } from "../../src/gdb/connection.js";
import { framePacket, PacketReader } from "../../src/gdb/packet.js";
import { FakeDesk } from "./fake-desk.js";
import { FakeTarget } from "./fake-target.js";

/** Two ends of a stream in memory. */
export function streamPair(): [Duplex, Duplex] {
  const make = (): Duplex =>
    new Duplex({
      read() {},
      write(bytes, _encoding, done) {
        other.get(this)!.push(bytes);
        done();
      },
      final(done) {
        other.get(this)!.push(null);
        done();
      },
      destroy(error, done) {
        const peer = other.get(this)!;
        if (!peer.destroyed) peer.push(null);
        done(error);
      },
    });
  const other = new WeakMap<Duplex, Duplex>();
  const [a, b] = [make(), make()];
  other.set(a, b).set(b, a);
  return [a, b];
}

/** A client that sends exactly what a test wants, connected to a server in memory. */
export class FakeClient {
  readonly target: FakeTarget;
  /** How the conversation ended. */
  readonly end: Promise<ConversationEnd>;
  readonly stream: Duplex;
  /** Everything that was received: `+`, `-` and bodies. */
  readonly received: string[] = [];
  private readonly waiting: ((body: string) => void)[] = [];
  private acknowledged = true;

  constructor(target = new FakeTarget()) {
    this.target = target;
    const [ours, theirs] = streamPair();
    this.stream = ours;
    this.end = Connection.serve(theirs, target, new FakeDesk(target));
    const reader = new PacketReader(1 << 20);
    ours.on("data", (bytes: Buffer) => {
      for (const incoming of reader.read(bytes)) {
        if (incoming.kind === "packet") this.take(incoming.body);
        else this.received.push(incoming.kind === "acknowledged" ? "+" : "-");
      }
    });
    ours.on("error", () => {});
  }

  private take(body: string): void {
    this.received.push(body);
    if (this.acknowledged) this.stream.write("+");
    if (/^O[0-9a-f]+$/.test(body)) return; // text to print arrives before an answer
    this.waiting.shift()?.(body);
  }

  /** The next answer. */
  next(): Promise<string> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  ask(body: string): Promise<string> {
    this.stream.write(framePacket(body));
    return this.next();
  }

  /** Sends bytes unchanged. */
  say(bytes: string | Uint8Array): void {
    this.stream.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Runs a monitor command, and returns what it prints. */
  async monitor(line: string): Promise<string> {
    const before = this.received.length;
    const answer = await this.ask(`qRcmd,${Buffer.from(line).toString("hex")}`);
    if (answer !== "OK") throw new Error(`qRcmd: ${answer}`);
    return this.received
      .slice(before)
      .filter((body) => /^O[0-9a-f]+$/.test(body))
      .map((body) => Buffer.from(body.slice(1), "hex").toString("utf8"))
      .join("");
  }

  /** From now on packets are not acknowledged. */
  async stopAcknowledging(): Promise<void> {
    await this.ask("QStartNoAckMode");
    this.acknowledged = false;
  }

  /** Sends what GDB 13 sends first, except for `multiprocess`, so that thread ids are plain numbers. */
  async greet(): Promise<string> {
    const offered = await this.ask(
      "qSupported:swbreak+;hwbreak+;qRelocInsn+;vContSupported+;xmlRegisters=i386",
    );
    await this.stopAcknowledging();
    return offered;
  }
}
