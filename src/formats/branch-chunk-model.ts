/**
 * What encoder and decoder of a chunk's payload must agree on, bit for bit; docs/FORMATS.md, "Branch log,
 * payload", says the same in words, and the plugin in C.
 *
 * A chunk's records are a walk over symbols. A symbol is a distinct (from, to, kind, icount step, brctr gap);
 * symbols are numbered in order of first appearance. Each symbol keeps the symbols seen to follow it in up to
 * four slots. With one follower the next symbol is taken for granted and only the number of such steps until
 * one is wrong is written (column of runs). With several, each slot in turn is confirmed or denied by one
 * binary decision, coded by an adaptive range coder with a probability that depends on the slot and on the last
 * twelve decisions. What no slot holds is coded as a symbol's number, or defined if it is new.
 */

/** Chunks hold records with equal `brctr >> chunkBits`. */
export const chunkBits = 19;
/** The most records of a chunk. */
export const chunkRecords = 1 << chunkBits;
/** Files may choose fewer or more records a chunk within these bounds. */
export const leastChunkBits = 4;
export const mostChunkBits = 22;

/** Followers a symbol keeps. */
export const slotBits = 2;
export const slots = 1 << slotBits;

/**
 * Bits of the history: one for each symbol with several followers, 0 when its first slot was right; the newest
 * is the lowest.
 */
export const historyMask = 0xfff;

/**
 * A slot moves ahead of the one before it when it has been right more than `2 * other + swapMargin` times.
 */
export const swapMargin = 8;

/** log2 of the number of probabilities for slots, and of those for symbols' numbers. */
export const tableBits = 16;

/** Multipliers of the hash that picks a probability (`hashIndex`). */
export const hashA = 0x9e3779b1;
export const hashB = 0x85ebca6b;
export const hashC = 0x2c1b3c6d;

/**
 * Which of 2^16 probabilities: a is `4 * symbol + slot` and b the history for slots; a is 0, or symbol + 1 once
 * its four slots have overflowed, and b the bits of the number so far under a leading 1 for symbols' numbers.
 */
export function hashIndex(a: number, b: number): number {
  const mixed = (Math.imul(a, hashA) + Math.imul(b, hashB)) | 0;
  return Math.imul(mixed ^ (mixed >>> 15), hashC) >>> (32 - tableBits);
}

/**
 * A probability is `p << 4 | n`: p in 0…65535 is the chance of a 0 in 1/65536, n ≤ `settled` how often it was
 * used. Each use moves p toward what was seen by `distance >> shift` with shift = n < settled ? 1 + (n >> 1) : 5,
 * where the distance is 65536 - p after a 0 and p after a 1.
 */
export const evenOdds = 0x8000 << 4;
export const settled = 10;
export const settledShift = 5;

/**
 * The range coder: `range` starts at 2^31-1; a decision with probability p splits it at
 * `(range >> 15) * (p >> 1)`, the lower part meaning 0; an even decision splits at `range >> 1`. Whenever range is
 * below 2^23, it and the code move up by one byte. The code is big-endian, starts with four bytes, and the
 * encoder flushes all 32 bits of its low end.
 */
export const initialRange = 0x7fffffff;
export const leastRange = 0x800000;

/**
 * Probabilities used without a hash, in sets of 128. Set 0: `isNew` for a symbol without followers, with
 * followers, with overflowed slots; then the tree of the kind. Sets by kind for from and to, one for the icount
 * step and one for the brctr gap: the tree of the number of bits.
 */
export const freeSets = {
  isNewFresh: 0,
  isNewKnown: 1,
  isNewOverflowed: 2,
  kind: 16,
  from: 128,
  to: 128 * (1 + 16),
  icountStep: 128 * (1 + 16 + 16),
  brctrGap: 128 * (1 + 16 + 16 + 1),
  size: 128 * (1 + 16 + 16 + 2),
} as const;

/** Bits of the kind's tree and of a number's bit-length tree. */
export const kindTreeBits = 4;
export const lengthTreeBits = 7;

/** Bytes a record can need at the most: all fields of a new symbol in full length, badly predicted. */
export const worstRecordBytes = 64;
