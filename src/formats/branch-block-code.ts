import type { BranchBitReader } from "./branch-bit-reader.js";
import type { BranchBitWriter } from "./branch-bit-writer.js";
import { blockAnswers, classOnes, codeLengths, longestCode } from "./branch-chunk-model.js";

/** Added to a class whose blocks are coded inverted. */
const inverted = 8;

/** By class and byte: the code, with the bit that goes first lowest, and its length above 16 bits. */
const codes = codeLengths.map(makeCodes);
/** By class and the next 12 bits: the byte, and its code's length above 8 bits; 0 where no code is. */
const bytesOf = codes.map(makeBytes);
/** By the ones of a block: the class of the next one. */
const classes = Uint8Array.from({ length: blockAnswers + 1 }, (_, ones) => {
  const isInverted = ones > blockAnswers / 2;
  const few = isInverted ? blockAnswers - ones : ones;
  return classOnes.findIndex((most) => few <= most) + (isInverted ? inverted : 0);
});

function countOnes(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function makeCodes(lengths: readonly number[]): Uint32Array {
  const made = new Uint32Array(256);
  let next = 0;
  for (let length = 1; length <= longestCode; length++, next *= 2) {
    for (let byte = 0; byte < 256; byte++) {
      if (lengths[countOnes(byte)] !== length) continue;
      let code = 0;
      for (let bit = 0; bit < length; bit++) code |= ((next >>> bit) & 1) << (length - 1 - bit);
      made[byte] = code | (length << 16);
      next++;
    }
  }
  return made;
}

function makeBytes(made: Uint32Array): Uint16Array {
  const bytes = new Uint16Array(1 << longestCode);
  for (const [byte, entry] of made.entries()) {
    const length = entry >>> 16;
    for (let bits = entry & 0xffff; bits < bytes.length; bits += 1 << length)
      bytes[bits] = byte | (length << 8);
  }
  return bytes;
}

/** The class of the block after one, whose answers are in two words. */
export function classAfter(first: number, second: number): number {
  return classes[countOnes(first) + countOnes(second)]!;
}

/** Writes a block: 64 answers, the first one highest in `first`. */
export function putBlock(writer: BranchBitWriter, kind: number, first: number, second: number): void {
  const flip = kind >= inverted ? -1 : 0;
  const code = codes[kind & (inverted - 1)]!;
  const words = [first ^ flip, second ^ flip];
  if ((kind & (inverted - 1)) === 0) {
    const any = (words[0]! | words[1]!) !== 0;
    writer.put(any ? 1 : 0, 1);
    if (!any) return;
  }
  for (const word of words) {
    for (let shift = 24; shift >= 0; shift -= 8) {
      const entry = code[(word >>> shift) & 0xff]!;
      writer.put(entry & 0xffff, entry >>> 16);
    }
  }
}

/**
 * Reads a block into two words of `into`.
 *
 * @returns false when it is not one
 */
export function takeBlock(reader: BranchBitReader, kind: number, into: Int32Array, at: number): boolean {
  const flip = kind >= inverted ? -1 : 0;
  into[at] = flip;
  into[at + 1] = flip;
  if ((kind & (inverted - 1)) === 0 && reader.take(1) === 0) return true;
  const bytes = bytesOf[kind & (inverted - 1)]!;
  for (let word = 0; word < 2; word++) {
    let value = 0;
    for (let byte = 0; byte < 4; byte++) {
      const entry = bytes[reader.peek(longestCode)]!;
      if (entry === 0) return false;
      reader.pass(entry >>> 8);
      value = (value << 8) | (entry & 0xff);
    }
    into[at + word] = value ^ flip;
  }
  return true;
}
