/** Writes little-endian values one after another into a buffer that grows. */
export class ByteWriter {
  private buffer = Buffer.alloc(64);
  length = 0;

  u8(value: number): void {
    this.room(1);
    this.buffer[this.length++] = value;
  }

  u16(value: number): void {
    this.room(2);
    this.length = this.buffer.writeUInt16LE(value, this.length);
  }

  u32(value: number): void {
    this.room(4);
    this.length = this.buffer.writeUInt32LE(value, this.length);
  }

  u64(value: bigint): void {
    this.room(8);
    this.length = this.buffer.writeBigUInt64LE(value, this.length);
  }

  /** Unsigned LEB128 of a value below 2^31. */
  uleb(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.u8((rest & 0x7f) | 0x80);
    this.u8(rest);
  }

  /** Signed LEB128 of a value from -2^31 to 2^31 - 1. */
  sleb(value: number): void {
    let rest = value;
    while (rest < -0x40 || rest > 0x3f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.u8(rest & 0x7f);
  }

  /** Latin-1, without an end mark. */
  text(text: string): void {
    this.room(text.length);
    this.length += this.buffer.write(text, this.length, "latin1");
  }

  bytes(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  align(boundary: number): void {
    while (this.length % boundary !== 0) this.u8(0);
  }

  /** Leaves four bytes to be filled in later. Returns their offset. */
  reserve32(): number {
    this.u32(0);
    return this.length - 4;
  }

  fill32(at: number, value: number): void {
    this.buffer.writeUInt32LE(value, at);
  }

  /** Returns the bytes. Nothing may be written after this. */
  finish(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}
