/** Bytes that must follow a reader's part: it may read them before the caller notices the end. */
export const bitPadding = 16;

/**
 * Reads numbers bit by bit, the lowest bit of each byte first. It does not check for the end of its part at each number,
 * which would cost time: numbers read there are meaningless. The caller must check `isOver`, and throw away what it read.
 */
export class BranchBitReader {
  private bytes: Uint8Array = new Uint8Array(0);
  private position = 0;
  private end = 0;
  /** Result of `takeNumber` and `takeBelow`. */
  low = 0;
  high = 0;

  /** Begins a part of `bytes` (borrowed), which must have at least `bitPadding` more bytes after `end`. */
  start(bytes: Uint8Array, begin: number, end: number): void {
    this.bytes = bytes;
    this.position = 8 * begin;
    this.end = 8 * end;
  }

  /** Was more read than there is? */
  get isOver(): boolean {
    return this.position > this.end;
  }

  /** Was all read, but for the zeros that fill the last byte up? */
  get isAtEnd(): boolean {
    const left = this.end - this.position;
    return left >= 0 && left < 8 && this.peek(left) === 0;
  }

  /** The next `count` bits (at most 24), which are not passed. */
  peek(count: number): number {
    const { bytes, position } = this;
    const at = position >>> 3;
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    return (word >>> (position & 7)) & ((1 << count) - 1);
  }

  pass(count: number): void {
    this.position = Math.min(this.position + count, this.end + 1);
  }

  /** The next `count` bits, at most 32. */
  take(count: number): number {
    if (count <= 24) {
      const value = this.peek(count);
      this.pass(count);
      return value;
    }
    const low = this.peek(24);
    this.pass(24);
    const high = this.peek(count - 24);
    this.pass(count - 24);
    return (low | (high << 24)) >>> 0;
  }

  /**
   * A number as `BranchBitWriter.putNumber` writes it, into `low` and `high`.
   *
   * @returns false when it has more than 64 bits
   */
  takeNumber(least: number): boolean {
    let zeros = 0;
    while (zeros + least <= 64 && this.take(1) === 0) zeros++;
    if (zeros + least > 64) return false;
    if (zeros > 0) {
      this.takeBelow(zeros + least);
    } else {
      this.low = this.take(least);
      this.high = 0;
    }
    return true;
  }

  /** The bits below the highest one of a number of `length` bits (at most 64), into `low` and `high`. */
  takeBelow(length: number): void {
    this.low = 0;
    this.high = 0;
    if (length === 0) return;
    if (length <= 32) {
      this.low = (this.take(length - 1) | (1 << (length - 1))) >>> 0;
    } else {
      this.low = this.take(32);
      this.high = (this.take(length - 33) | (1 << (length - 33))) >>> 0;
    }
  }
}
