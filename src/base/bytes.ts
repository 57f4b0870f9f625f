import { VmtapeError } from "./errors.js";

/**
 * A cursor over bytes that checks bounds before each read. A read past the end throws `bad-file` with the
 * offset and leaves the cursor where it was.
 */
export class ByteReader {
  private readonly view: DataView;
  /** Offset of the next read, from the start of `bytes`. */
  offset = 0;

  /**
   * @param bytes borrowed, not copied
   * @param file the name used in errors
   */
  constructor(
    readonly bytes: Uint8Array,
    private readonly file = "input",
    private readonly littleEndian = true,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2), this.littleEndian);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), this.littleEndian);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.take(8), this.littleEndian);
  }

  i32(): number {
    return this.view.getInt32(this.take(4), this.littleEndian);
  }

  i64(): bigint {
    return this.view.getBigInt64(this.take(8), this.littleEndian);
  }

  /** The next `length` bytes as a view into the input (borrowed). */
  slice(length: number): Uint8Array {
    const start = this.take(length);
    return this.bytes.subarray(start, start + length);
  }

  /** Moves the cursor; a target outside the input throws. */
  seek(offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > this.bytes.length) {
      throw this.outside(offset, 0);
    }
    this.offset = offset;
  }

  private take(length: number): number {
    if (!Number.isSafeInteger(length) || length < 0 || length > this.remaining) {
      throw this.outside(this.offset, length);
    }
    const start = this.offset;
    this.offset += length;
    return start;
  }

  private outside(offset: number, length: number): VmtapeError {
    return new VmtapeError(
      "bad-file",
      `${this.file} ends at byte ${this.bytes.length}, but ${length} bytes were expected at ${offset}`,
      { file: this.file, offset, length: this.bytes.length },
    );
  }
}
