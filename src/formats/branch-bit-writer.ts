/** Writes numbers bit by bit, the lowest bit of each byte first. 64-bit numbers come in two halves. */
export class BranchBitWriter {
  /** What was written so far (borrowed: replaced when it grows); bytes after `length` are 0. */
  bytes = new Uint8Array(1 << 12);
  private bits = 0;

  /** Bytes written, the last one filled up with zeros. */
  get length(): number {
    return (this.bits + 7) >>> 3;
  }

  reset(): void {
    this.bytes.fill(0, 0, this.length);
    this.bits = 0;
  }

  /** The low `count` bits (at most 32) of a number that has no others. */
  put(value: number, count: number): void {
    if (this.length + 8 > this.bytes.length) this.grow();
    let rest = value >>> 0;
    let left = count;
    while (left > 0) {
      const used = this.bits & 7;
      const part = Math.min(left, 8 - used);
      this.bytes[this.bits >>> 3]! |= (rest & ((1 << part) - 1)) << used;
      this.bits += part;
      left -= part;
      rest >>>= part;
    }
  }

  /**
   * A number of which those with at most `least` bits are short: as many zeros as its length is above `least`, a one;
   * then a short number's `least` bits, or the bits below a long one's highest.
   */
  putNumber(least: number, low: number, high = 0): void {
    const length = bitLength(low, high);
    if (length <= least) {
      this.put(1, 1);
      this.put(low, least);
      return;
    }
    let zeros = length - least;
    for (; zeros > 31; zeros -= 31) this.put(0, 31);
    this.put(0, zeros);
    this.put(1, 1);
    this.putBelow(length, low, high);
  }

  /** The bits below the highest one of a number that has `length`. */
  putBelow(length: number, low: number, high: number): void {
    if (length <= 1) return;
    if (length <= 32) {
      this.put(low & ~(1 << (length - 1)), length - 1);
      return;
    }
    this.put(low, 32);
    this.put(high & ~(1 << (length - 33)), length - 33);
  }

  private grow(): void {
    const larger = new Uint8Array(2 * this.bytes.length);
    larger.set(this.bytes);
    this.bytes = larger;
  }
}

/** Bits of an unsigned 64-bit number; 0 for 0. */
export function bitLength(low: number, high: number): number {
  return high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high);
}
