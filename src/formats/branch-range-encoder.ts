import { evenOdds, initialRange, leastRange, settled, settledShift } from "./branch-chunk-model.js";

/**
 * The writing side of the adaptive binary range coder (`branch-chunk-model.ts`). A carry can still change bytes
 * that were produced: the last one is held back, with the number of 0xff that follow it.
 */
export class BranchRangeEncoder {
  /** What was written so far (borrowed: replaced when it grows). */
  bytes = new Uint8Array(1 << 16);
  length = 0;
  /** Below 2^33: 32 bits and a carry. */
  private low = 0;
  private range = initialRange;
  private held = -1;
  private heldOnes = 0;

  reset(): void {
    this.length = 0;
    this.low = 0;
    this.range = initialRange;
    this.held = -1;
    this.heldOnes = 0;
  }

  /** Codes one decision (0 or 1) with the probability at `table[place]`, and adapts it. */
  decide(table: Int32Array, place: number, bit: number): void {
    const state = table[place]!;
    const uses = state & 15;
    let p = state >>> 4;
    const shift = uses < settled ? 1 + (uses >> 1) : settledShift;
    const bound = Math.imul(this.range >>> 15, p >>> 1);
    if (bit === 0) {
      this.range = bound;
      p += (0x10000 - p) >> shift;
    } else {
      this.low += bound;
      this.range -= bound;
      p -= p >> shift;
    }
    table[place] = (p << 4) | (uses < settled ? uses + 1 : uses);
    while (this.range < leastRange) this.shift();
  }

  /** Codes one decision at even odds. */
  decideEven(bit: number): void {
    const bound = this.range >>> 1;
    if (bit === 0) {
      this.range = bound;
    } else {
      this.low += bound;
      this.range -= bound;
    }
    while (this.range < leastRange) this.shift();
  }

  /** Writes what is still held; nothing may be coded after it but a reset. */
  finish(): void {
    for (let byte = 0; byte < 5; byte++) this.shift();
  }

  private shift(): void {
    const carry = this.low >= 0x1_0000_0000 ? 1 : 0;
    if (carry === 1 || this.low < 0xff00_0000) {
      if (this.length + this.heldOnes + 1 > this.bytes.length) this.grow();
      if (this.held >= 0) this.bytes[this.length++] = this.held + carry;
      for (; this.heldOnes > 0; this.heldOnes--) this.bytes[this.length++] = 0xff + carry;
      this.held = (this.low >>> 24) & 0xff;
    } else {
      this.heldOnes++;
    }
    this.low = (this.low & 0x00ff_ffff) * 256;
    this.range *= 256;
  }

  private grow(): void {
    const larger = new Uint8Array(2 * (this.bytes.length + this.heldOnes));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }
}

/** A table of probabilities that know nothing yet. */
export function freshOdds(table: Int32Array): void {
  table.fill(evenOdds);
}
