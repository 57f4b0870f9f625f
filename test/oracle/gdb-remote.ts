import { connect, type Socket } from "node:net";

const patience = 60_000;

/**
 * The client side of the GDB remote protocol, as far as single-stepping needs it. It is deliberately not the
 * project's own client: the oracle must not share code with what it judges.
 *
 * Protocol: https://sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html
 */
export class GdbRemote {
  private readonly waiting: { resolve(reply: string): void; reject(error: Error): void }[] = [];
  private received = "";
  private output = "";
  private readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.setNoDelay(true);
    socket.on("data", (text: string) => this.receive(text));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error("QEMU closed its GDB connection"));
    });
  }

  /** Connects to a stub on a unix socket, without acknowledgements and with register access by number. */
  static async connect(path: string): Promise<GdbRemote> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const remote = new GdbRemote(socket);
    await remote.request("QStartNoAckMode");
    socket.write("+"); // for the one reply that still wants it
    // QEMU answers `p` only to a client that has read its register description.
    await remote.request("qXfer:features:read:target.xml:0,ffb");
    return remote;
  }

  /**
   * The answer to a packet that lets the machine run only for a moment.
   *
   * @throws Error when there is none in a minute: a machine that hangs must not hang the oracle
   */
  async soon(packet: string): Promise<string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`QEMU does not answer ${packet}`)), patience);
    });
    try {
      return await Promise.race([this.request(packet), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends packets in one write; the replies come in the same order. */
  batch(packets: readonly string[]): Promise<string[]> {
    let text = "";
    for (const packet of packets) text += framed(packet);
    this.socket.write(text, "latin1");
    return Promise.all(
      packets.map(() => new Promise<string>((resolve, reject) => this.waiting.push({ resolve, reject }))),
    );
  }

  async request(packet: string): Promise<string> {
    return (await this.batch([packet]))[0]!;
  }

  /** Runs a command of QEMU's human monitor, and returns what it printed. */
  async monitor(command: string): Promise<string> {
    this.output = "";
    await this.request(`qRcmd,${Buffer.from(command).toString("hex")}`);
    return this.output;
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(text: string): void {
    this.received += text;
    for (;;) {
      const start = this.received.indexOf("$");
      const end = this.received.indexOf("#", start + 1);
      if (start < 0 || end < 0 || this.received.length < end + 3) return;
      const packet = this.received.slice(start + 1, end);
      this.received = this.received.slice(end + 3);
      // Console output precedes the answer to a monitor command.
      if (packet[0] === "O" && packet !== "OK") {
        this.output += Buffer.from(packet.slice(1), "hex").toString("latin1");
      } else {
        this.waiting.shift()?.resolve(packet);
      }
    }
  }
}

function framed(packet: string): string {
  let sum = 0;
  for (let i = 0; i < packet.length; i++) sum += packet.charCodeAt(i);
  return `$${packet}#${(sum & 0xff).toString(16).padStart(2, "0")}`;
}

/** A register's or memory's little-endian bytes in hexadecimal, as a number. */
export function littleEndian(hex: string): bigint {
  let value = 0n;
  for (let i = hex.length - 2; i >= 0; i -= 2)
    value = (value << 8n) | BigInt(Number.parseInt(hex.slice(i, i + 2), 16));
  return value;
}
