/**
 * What encoder and decoder of a chunk's payload must agree on, bit for bit; docs/FORMATS.md, "Branch log,
 * payload", says the same in words, and the plugin in C.
 *
 * A chunk's records are a walk over symbols. A symbol is a distinct (from, to, kind, icount step, brctr gap);
 * symbols are numbered in order of first appearance. Each symbol keeps the symbols seen to follow it in up to
 * four slots. Where it has several, each step answers one or two questions in plain bits: was it the first slot
 * (turn), and if not, which other one (choice)? Each symbol's answers are gathered in blocks of 64 and coded in
 * bytes, with a code that suits the block before. All that no slot foretells is an event in a second column: a
 * symbol that is new there, or a repeat of an earlier part of the walk.
 */

/** Chunks hold records with equal `brctr >> chunkBits`. */
export const chunkBits = 19;
/** The most records of a chunk. */
export const chunkRecords = 1 << chunkBits;
/** Files may choose fewer or more records a chunk within these bounds. */
export const leastChunkBits = 4;
export const mostChunkBits = 22;

/** Followers a symbol keeps. */
export const slots = 4;

/** Places for answers in a block, and how many are filled at least before the next block begins. */
export const blockAnswers = 64;
export const fullBlock = 62;

/**
 * Classes of blocks. The most ones the block before has (or the most zeros, if it has more ones: then all bits of
 * the block are coded inverted); a symbol's first block is as after one of zeros. Class 0 says in one bit whether
 * there is any one in the block; if so, its bytes are coded as in class 1.
 */
export const classOnes = [0, 5, 9, 14, 21, 32] as const;
/** Code lengths by class and by the number of ones in a byte. Codes are canonical, shorter ones and lower bytes first. */
export const codeLengths = [
  [1, 5, 8, 10, 11, 11, 11, 11, 11],
  [1, 5, 8, 10, 11, 11, 11, 11, 11],
  [2, 4, 8, 10, 11, 11, 11, 11, 11],
  [3, 4, 7, 9, 12, 12, 12, 12, 12],
  [3, 5, 7, 8, 9, 11, 11, 11, 11],
  [5, 7, 7, 8, 8, 9, 9, 9, 9],
] as const;
export const longestCode = 12;

/** Bits of numbers that are short, by what they tell: see `BranchBitWriter.putNumber`. */
export const leastBits = { event: 0, from: 4, step: 2, gap: 0, distance: 4, length: 6 } as const;
/** Bits of the length of the folded distance from `from` to `to`; all ones: seven more follow with the length. */
export const toLengthBits = 5;
export const toLong = (1 << toLengthBits) - 1;
export const longLengthBits = 7;

/**
 * The encoder looks for repeats where this many symbols have passed since it looked last, 8 after a repeat, twice
 * as many (512 at most) each time it found none; of the 16 places from there on at the one `repeatChoice` chooses. It
 * looks where the 16 symbols before were seen when it last looked (by a hash, `repeatPlace`), and takes what follows
 * there if at least 32 symbols are the same.
 */
export const repeat = {
  context: 16,
  least: 32,
  patience: 8,
  mostPatience: 512,
  choice: 16,
  tableBits: 12,
} as const;

/**
 * Where to look: of the places from `at` on (below `end`) the one after the symbol with the least hash, so that the
 * same one is chosen when the same symbols come again.
 */
export function repeatChoice(walk: Int32Array, at: number, end: number): number {
  let best = at;
  let least = 2 ** 32;
  for (let place = at; place < Math.min(end, at + repeat.choice); place++) {
    const hash = Math.imul(walk[place - 1]!, 0x9e3779b1) >>> 0;
    if (hash >= least) continue;
    least = hash;
    best = place;
  }
  return best;
}

/** Place in the table of repeats for the symbols before `at` in a walk. */
export function repeatPlace(walk: Int32Array, at: number): number {
  let hash = 0;
  for (let back = repeat.context; back > 0; back--) hash = Math.imul(hash + walk[at - back]!, 0x9e3779b1);
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> (32 - repeat.tableBits);
}

/** Bytes a record can need at the most: an event with all fields of a new symbol in full length, and a block. */
export const worstRecordBytes = 80;
