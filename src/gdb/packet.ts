/**
 * Packets of the GDB remote protocol: `$BODY#SS`, SS the sum of the body's bytes modulo 256. Beside them come single
 * bytes: `+` and `-` acknowledge a packet or want it again, 0x03 interrupts.
 *
 *     $  m ffffffff81000000,40  #  e3
 *     |  body, latin-1          |  checksum, 2 hexadecimal digits
 *
 * In binary data `}` and the next byte xor 0x20 stand for one byte; `#`, `$`, `}` and `*` must be written so.
 *
 * Source: GDB manual, "Overview" of the appendix "GDB Remote Serial Protocol".
 */
const byte = { interrupt: 0x03, hash: 0x23, dollar: 0x24, star: 0x2a, plus: 0x2b, minus: 0x2d, escape: 0x7d };
const escapeMask = 0x20;

/** What comes from a client, piece by piece. */
export type Incoming =
  | { readonly kind: "packet"; readonly body: string }
  /** A packet that cannot be believed: a wrong checksum, or longer than allowed (then without its end). */
  | { readonly kind: "damaged"; readonly why: "checksum" | "too long" | "cut" }
  | { readonly kind: "acknowledged" | "resend" | "interrupt" }
  /** A byte that belongs to nothing. */
  | { readonly kind: "junk" };

/** Finds packets in bytes as they come; holds at most one unfinished packet. */
export class PacketReader {
  private readonly body: Buffer;
  private length = 0;
  private sum = 0;
  /** Outside a packet, in its body, or in its checksum. */
  private state: "outside" | "body" | "first digit" | "second digit" = "outside";
  private firstDigit = 0;
  private tooLong = false;

  /** @param longest bytes a body may have */
  constructor(longest: number) {
    this.body = Buffer.alloc(longest);
  }

  /** Everything these bytes complete, in order. Cost: linear; a packet cut at any byte comes with the next call. */
  *read(bytes: Uint8Array): Generator<Incoming> {
    for (const value of bytes) {
      const incoming = this.take(value);
      if (incoming) yield incoming;
    }
  }

  private take(value: number): Incoming | undefined {
    switch (this.state) {
      case "outside":
        return this.outside(value);
      case "body":
        return this.inBody(value);
      case "first digit":
        this.firstDigit = value;
        this.state = "second digit";
        return undefined;
      case "second digit":
        this.state = "outside";
        return this.finish(digit(this.firstDigit) * 16 + digit(value));
    }
  }

  private outside(value: number): Incoming | undefined {
    switch (value) {
      case byte.dollar:
        this.begin();
        return undefined;
      case byte.plus:
        return { kind: "acknowledged" };
      case byte.minus:
        return { kind: "resend" };
      case byte.interrupt:
        return { kind: "interrupt" };
      default:
        return { kind: "junk" };
    }
  }

  private begin(): void {
    this.length = 0;
    this.sum = 0;
    this.tooLong = false;
    this.state = "body";
  }

  private inBody(value: number): Incoming | undefined {
    if (value === byte.hash) {
      this.state = "first digit";
      return undefined;
    }
    if (value === byte.dollar) {
      // No body holds a bare `$`: the packet before was cut, and this is the next one.
      this.begin();
      return { kind: "damaged", why: "cut" };
    }
    this.sum = (this.sum + value) & 0xff;
    if (this.length < this.body.length) this.body[this.length++] = value;
    else this.tooLong = true;
    return undefined;
  }

  private finish(checksum: number): Incoming {
    if (this.tooLong) return { kind: "damaged", why: "too long" };
    if (checksum !== this.sum) return { kind: "damaged", why: "checksum" };
    return { kind: "packet", body: this.body.toString("latin1", 0, this.length) };
  }
}

/** The value of a hexadecimal digit; NaN of anything else, which equals no checksum. */
function digit(code: number): number {
  return Number.parseInt(String.fromCharCode(code), 16);
}

/** A body as a packet, ready to be sent. `#` and `$` must be escaped in it (see {@link escapeBinary}). */
export function framePacket(body: string): Buffer {
  const packet = Buffer.allocUnsafe(body.length + 4);
  packet[0] = byte.dollar;
  packet.write(body, 1, "latin1");
  let sum = 0;
  for (let i = 1; i <= body.length; i++) sum = (sum + packet[i]!) & 0xff;
  packet.write(`#${sum.toString(16).padStart(2, "0")}`, body.length + 1, "latin1");
  return packet;
}

/** Bytes as they may stand in a body. */
export function escapeBinary(bytes: Uint8Array): string {
  let text = "";
  for (const value of bytes) {
    const special =
      value === byte.hash || value === byte.dollar || value === byte.star || value === byte.escape;
    text += special ? String.fromCharCode(byte.escape, value ^ escapeMask) : String.fromCharCode(value);
  }
  return text;
}

/** The bytes that {@link escapeBinary} wrote. */
export function unescapeBinary(text: string): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    bytes.push(code === byte.escape && i + 1 < text.length ? text.charCodeAt(++i) ^ escapeMask : code);
  }
  return Uint8Array.from(bytes);
}
