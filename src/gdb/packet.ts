/**
 * Packets of the GDB remote protocol: `$BODY#SS`, where SS is the sum of the body's bytes modulo 256. Between packets
 * there may be single bytes: `+` acknowledges a packet, `-` asks for it again, 0x03 interrupts.
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

/** One thing that a client has sent. */
export type Incoming =
  | { readonly kind: "packet"; readonly body: string }
  /** A packet that cannot be used: its checksum is wrong, it is too long, or it was cut. */
  | { readonly kind: "damaged"; readonly why: "checksum" | "too long" | "cut" }
  | { readonly kind: "acknowledged" | "resend" | "interrupt" }
  /** A byte that belongs to no packet. */
  | { readonly kind: "junk" };

/** Finds packets in a stream of bytes. Holds at most one unfinished packet. */
export class PacketReader {
  private readonly body: Buffer;
  private length = 0;
  private sum = 0;
  /** Where the next byte lies: outside a packet, in its body, or in its checksum. */
  private state: "outside" | "body" | "first digit" | "second digit" = "outside";
  private firstDigit = 0;
  private tooLong = false;

  /** @param longest the most bytes of a body */
  constructor(longest: number) {
    this.body = Buffer.alloc(longest);
  }

  /**
   * Yields everything that these bytes complete, in order. A packet may be spread over any number of calls. Cost:
   * linear.
   */
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
      // No body contains an unescaped `$`, so the packet before was cut, and this is the next one.
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

/** The value of a hexadecimal digit; for anything else NaN, which equals no checksum. */
function digit(code: number): number {
  return Number.parseInt(String.fromCharCode(code), 16);
}

/** Makes a packet of a body, in which `#` and `$` must be escaped (see {@link escapeBinary}). */
export function framePacket(body: string): Buffer {
  const packet = Buffer.allocUnsafe(body.length + 4);
  packet[0] = byte.dollar;
  packet.write(body, 1, "latin1");
  let sum = 0;
  for (let i = 1; i <= body.length; i++) sum = (sum + packet[i]!) & 0xff;
  packet.write(`#${sum.toString(16).padStart(2, "0")}`, body.length + 1, "latin1");
  return packet;
}

/** Escapes bytes for a body. */
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
