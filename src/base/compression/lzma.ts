import { VmtapeError } from "../errors.js";

/**
 * LZMA: the decoder shared by .lzma files and the LZMA2 chunks of .xz files.
 * Source of the format: the LZMA specification of the LZMA SDK (lzma-specification.txt).
 *
 * The output array is the dictionary: matches copy from what was written before, so nothing is kept twice.
 */

const bitModelBits = 11;
const initialProbability = 1 << (bitModelBits - 1);
const moveBits = 5;
const topValue = 0x1000000;

const stateCount = 12;
const positionStatesMax = 16;
const lengthStates = 4;
const slotCount = 64;
/** Distances of slots 4 to 13 use 115 probabilities of their own, counted from 1. */
const specialDistances = 1 + 115;
const alignCount = 16;
const firstDirectSlot = 14;
const minimumMatch = 2;
const literalCoderSize = 0x300;

/** Offsets inside one length coder. */
const lengthChoice = 0;
const lengthChoice2 = 1;
const lengthLow = 2;
const lengthMid = lengthLow + (positionStatesMax << 3);
const lengthHigh = lengthMid + (positionStatesMax << 3);
const lengthCoderSize = lengthHigh + 256;

/** Offsets of the probability tables in one array. */
const isMatch = 0;
const isRep = isMatch + (stateCount << 4);
const isRepG0 = isRep + stateCount;
const isRepG1 = isRepG0 + stateCount;
const isRepG2 = isRepG1 + stateCount;
const isRep0Long = isRepG2 + stateCount;
const positionSlot = isRep0Long + (stateCount << 4);
const positionSpecial = positionSlot + lengthStates * slotCount;
const positionAlign = positionSpecial + specialDistances;
const matchLength = positionAlign + alignCount;
const repLength = matchLength + lengthCoderSize;
const literal = repLength + lengthCoderSize;

/** The three numbers packed in LZMA's properties byte. */
export interface LzmaProperties {
  /** High bits of the previous byte that choose a literal's coder: 0 to 8. */
  readonly literalContext: number;
  /** Low bits of the position that choose a literal's coder: 0 to 4. */
  readonly literalPosition: number;
  /** Low bits of the position that choose the other coders: 0 to 4. */
  readonly position: number;
}

/** The properties of a byte `(pb * 5 + lp) * 9 + lc`; undefined when it is none. */
export function lzmaProperties(byte: number): LzmaProperties | undefined {
  if (byte >= 9 * 5 * 5) return undefined;
  return {
    literalContext: byte % 9,
    literalPosition: Math.floor(byte / 9) % 5,
    position: Math.floor(byte / 45),
  };
}

/** Why `decode` came back. */
export type LzmaStop = "limit" | "end-marker";

/** A resumable LZMA decoder that writes to, and takes its matches from, one array. */
export class LzmaDecoder {
  /** Where the next byte goes. */
  position = 0;
  /** Offset in the input of the next byte to read; set it before each chunk. */
  inputOffset = 0;
  /** Lowest position a match may reach back to. */
  dictionaryStart = 0;
  private range = 0;
  private code = 0;
  private state = 0;
  private rep0 = 0;
  private rep1 = 0;
  private rep2 = 0;
  private rep3 = 0;
  private lc = 0;
  private lp = 0;
  private pb = 0;
  private probabilities = new Uint16Array(0);

  /** @param output borrowed: replaced by the owner when it grows, with the written bytes kept */
  constructor(public output: Uint8Array) {}

  /** Starts with new properties and fresh probabilities. */
  reset(properties: LzmaProperties): void {
    this.lc = properties.literalContext;
    this.lp = properties.literalPosition;
    this.pb = properties.position;
    const size = literal + (literalCoderSize << (this.lc + this.lp));
    if (this.probabilities.length !== size) this.probabilities = new Uint16Array(size);
    this.resetState();
  }

  /** Forgets what was learned, keeps the properties. */
  resetState(): void {
    this.probabilities.fill(initialProbability);
    this.state = 0;
    this.rep0 = this.rep1 = this.rep2 = this.rep3 = 0;
  }

  /** Reads the five bytes that start a range-coded stretch. */
  startRange(input: Uint8Array): void {
    if (this.inputOffset + 5 > input.length) throw damaged("the compressed data ends early");
    if (input[this.inputOffset] !== 0) throw damaged("a range-coded stretch does not start with 0");
    let code = 0;
    for (let i = 1; i < 5; i++) code = ((code << 8) | input[this.inputOffset + i]!) >>> 0;
    this.inputOffset += 5;
    this.range = 0xffffffff;
    this.code = code;
  }

  /** Whether the range decoder stands where a well-formed stretch ends. */
  get atRangeEnd(): boolean {
    return this.code === 0;
  }

  /**
   * Decodes until `position` reaches `limit` or the end marker comes. A match may run past `limit` up to
   * `end`; the output must hold `end` bytes.
   *
   * @throws VmtapeError `bad-file` for a match before the dictionary or beyond the end, or input that ends early
   */
  decode(input: Uint8Array, limit: number, end = limit): LzmaStop {
    const probabilities = this.probabilities;
    const output = this.output;
    const inputEnd = input.length;
    const positionMask = (1 << this.pb) - 1;
    const literalMask = (1 << this.lp) - 1;
    const lc = this.lc;
    const dictionaryStart = this.dictionaryStart;
    // The conversions tell the compiler that these are 32-bit words: without them it keeps doubles.
    let position = this.position | 0;
    let inputOffset = this.inputOffset | 0;
    let range = this.range >>> 0;
    let code = this.code >>> 0;
    let state = this.state | 0;
    let rep0 = this.rep0 >>> 0;
    let rep1 = this.rep1 >>> 0;
    let rep2 = this.rep2 >>> 0;
    let rep3 = this.rep3 >>> 0;
    // A read past the input gives undefined, which `|` makes 0; it is noticed before the next symbol, so that
    // the bit loops need no check of their own.
    let stop: LzmaStop = "limit";
    let index = 0;
    let probability = 0;
    let bound = 0;
    let length = 0;
    while (position < limit) {
      if (inputOffset > inputEnd) throw damaged("the compressed data ends early");
      const positionState = position & positionMask;
      index = isMatch + (state << 4) + positionState;
      probability = probabilities[index]!;
      bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
      if (code < bound) {
        range = bound;
        probabilities[index] = probability + ((2048 - probability) >>> moveBits);
        if (range < topValue) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | input[inputOffset++]!) >>> 0;
        }
        const previous = position > dictionaryStart ? output[position - 1]! : 0;
        const coder =
          literal + literalCoderSize * (((position & literalMask) << lc) + (previous >>> (8 - lc)));
        let symbol = 1;
        if (state >= 7) {
          let matchByte = output[position - rep0 - 1]!;
          let offset = 0x100;
          do {
            matchByte <<= 1;
            const bit = matchByte & offset;
            index = coder + offset + bit + symbol;
            probability = probabilities[index]!;
            bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
            if (code < bound) {
              range = bound;
              probabilities[index] = probability + ((2048 - probability) >>> moveBits);
              symbol <<= 1;
              offset &= ~bit;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probabilities[index] = probability - (probability >>> moveBits);
              symbol = (symbol << 1) | 1;
              offset &= bit;
            }
            if (range < topValue) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[inputOffset++]!) >>> 0;
            }
          } while (symbol < 0x100);
        } else {
          do {
            index = coder + symbol;
            probability = probabilities[index]!;
            bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
            if (code < bound) {
              range = bound;
              probabilities[index] = probability + ((2048 - probability) >>> moveBits);
              symbol <<= 1;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probabilities[index] = probability - (probability >>> moveBits);
              symbol = (symbol << 1) | 1;
            }
            if (range < topValue) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[inputOffset++]!) >>> 0;
            }
          } while (symbol < 0x100);
        }
        output[position++] = symbol;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      range = (range - bound) >>> 0;
      code = (code - bound) >>> 0;
      probabilities[index] = probability - (probability >>> moveBits);
      if (range < topValue) {
        range = (range << 8) >>> 0;
        code = ((code << 8) | input[inputOffset++]!) >>> 0;
      }

      index = isRep + state;
      probability = probabilities[index]!;
      bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
      let lengthCoder = 0;
      if (code < bound) {
        range = bound;
        probabilities[index] = probability + ((2048 - probability) >>> moveBits);
        if (range < topValue) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | input[inputOffset++]!) >>> 0;
        }
        lengthCoder = matchLength;
        rep3 = rep2;
        rep2 = rep1;
        rep1 = rep0;
      } else {
        range = (range - bound) >>> 0;
        code = (code - bound) >>> 0;
        probabilities[index] = probability - (probability >>> moveBits);
        if (range < topValue) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | input[inputOffset++]!) >>> 0;
        }
        lengthCoder = repLength;
        index = isRepG0 + state;
        probability = probabilities[index]!;
        bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
        if (code < bound) {
          range = bound;
          probabilities[index] = probability + ((2048 - probability) >>> moveBits);
          if (range < topValue) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[inputOffset++]!) >>> 0;
          }
          index = isRep0Long + (state << 4) + positionState;
          probability = probabilities[index]!;
          bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
          if (code < bound) {
            range = bound;
            probabilities[index] = probability + ((2048 - probability) >>> moveBits);
            if (range < topValue) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[inputOffset++]!) >>> 0;
            }
            if (position - rep0 - 1 < dictionaryStart) throw damaged("a match reaches before the data");
            output[position] = output[position - rep0 - 1]!;
            position++;
            state = state < 7 ? 9 : 11;
            continue;
          }
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probabilities[index] = probability - (probability >>> moveBits);
          if (range < topValue) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[inputOffset++]!) >>> 0;
          }
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probabilities[index] = probability - (probability >>> moveBits);
          if (range < topValue) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[inputOffset++]!) >>> 0;
          }
          index = isRepG1 + state;
          probability = probabilities[index]!;
          bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
          let distance = 0;
          if (code < bound) {
            range = bound;
            probabilities[index] = probability + ((2048 - probability) >>> moveBits);
            distance = rep1;
          } else {
            range = (range - bound) >>> 0;
            code = (code - bound) >>> 0;
            probabilities[index] = probability - (probability >>> moveBits);
            if (range < topValue) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[inputOffset++]!) >>> 0;
            }
            index = isRepG2 + state;
            probability = probabilities[index]!;
            bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
            if (code < bound) {
              range = bound;
              probabilities[index] = probability + ((2048 - probability) >>> moveBits);
              distance = rep2;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probabilities[index] = probability - (probability >>> moveBits);
              distance = rep3;
              rep3 = rep2;
            }
            rep2 = rep1;
          }
          if (range < topValue) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[inputOffset++]!) >>> 0;
          }
          rep1 = rep0;
          rep0 = distance;
        }
      }

      // The length: 2 to 9, 10 to 17 or 18 to 273, each from a bit tree of its own.
      let tree = 0;
      let treeBits = 3;
      let lengthBase = 0;
      index = lengthCoder + lengthChoice;
      probability = probabilities[index]!;
      bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
      if (code < bound) {
        range = bound;
        probabilities[index] = probability + ((2048 - probability) >>> moveBits);
        tree = lengthCoder + lengthLow + (positionState << 3);
      } else {
        range = (range - bound) >>> 0;
        code = (code - bound) >>> 0;
        probabilities[index] = probability - (probability >>> moveBits);
        if (range < topValue) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | input[inputOffset++]!) >>> 0;
        }
        index = lengthCoder + lengthChoice2;
        probability = probabilities[index]!;
        bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
        if (code < bound) {
          range = bound;
          probabilities[index] = probability + ((2048 - probability) >>> moveBits);
          tree = lengthCoder + lengthMid + (positionState << 3);
          lengthBase = 8;
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probabilities[index] = probability - (probability >>> moveBits);
          tree = lengthCoder + lengthHigh;
          treeBits = 8;
          lengthBase = 16;
        }
      }
      if (range < topValue) {
        range = (range << 8) >>> 0;
        code = ((code << 8) | input[inputOffset++]!) >>> 0;
      }
      let node = 1;
      for (let i = treeBits; i > 0; i--) {
        index = tree + node;
        probability = probabilities[index]!;
        bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
        if (code < bound) {
          range = bound;
          probabilities[index] = probability + ((2048 - probability) >>> moveBits);
          node <<= 1;
        } else {
          range = (range - bound) >>> 0;
          code = (code - bound) >>> 0;
          probabilities[index] = probability - (probability >>> moveBits);
          node = (node << 1) | 1;
        }
        if (range < topValue) {
          range = (range << 8) >>> 0;
          code = ((code << 8) | input[inputOffset++]!) >>> 0;
        }
      }
      length = lengthBase + node - (1 << treeBits);

      if (lengthCoder === repLength) {
        state = state < 7 ? 8 : 11;
      } else {
        state = state < 7 ? 7 : 10;
        // A new distance: 6 bits of slot, then low bits by tree, or raw bits and 4 aligned ones.
        tree = positionSlot + (length < lengthStates ? length : lengthStates - 1) * slotCount;
        node = 1;
        for (let i = 6; i > 0; i--) {
          index = tree + node;
          probability = probabilities[index]!;
          bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
          if (code < bound) {
            range = bound;
            probabilities[index] = probability + ((2048 - probability) >>> moveBits);
            node <<= 1;
          } else {
            range = (range - bound) >>> 0;
            code = (code - bound) >>> 0;
            probabilities[index] = probability - (probability >>> moveBits);
            node = (node << 1) | 1;
          }
          if (range < topValue) {
            range = (range << 8) >>> 0;
            code = ((code << 8) | input[inputOffset++]!) >>> 0;
          }
        }
        const slot = node - slotCount;
        if (slot < 4) {
          rep0 = slot;
        } else {
          let directBits = (slot >>> 1) - 1;
          rep0 = ((2 | (slot & 1)) << directBits) >>> 0;
          if (slot < firstDirectSlot) {
            tree = positionSpecial + rep0 - slot;
          } else {
            let high = 0;
            for (let i = directBits - 4; i > 0; i--) {
              range >>>= 1;
              if (code >= range) {
                code = (code - range) >>> 0;
                high = (high << 1) | 1;
              } else {
                high <<= 1;
              }
              if (range < topValue) {
                range = (range << 8) >>> 0;
                code = ((code << 8) | input[inputOffset++]!) >>> 0;
              }
            }
            rep0 = (rep0 + (high << 4)) >>> 0;
            tree = positionAlign;
            directBits = 4;
          }
          node = 1;
          for (let i = 0; i < directBits; i++) {
            index = tree + node;
            probability = probabilities[index]!;
            bound = Math.imul(range >>> bitModelBits, probability) >>> 0;
            if (code < bound) {
              range = bound;
              probabilities[index] = probability + ((2048 - probability) >>> moveBits);
              node <<= 1;
            } else {
              range = (range - bound) >>> 0;
              code = (code - bound) >>> 0;
              probabilities[index] = probability - (probability >>> moveBits);
              node = (node << 1) | 1;
              rep0 = (rep0 + (1 << i)) >>> 0;
            }
            if (range < topValue) {
              range = (range << 8) >>> 0;
              code = ((code << 8) | input[inputOffset++]!) >>> 0;
            }
          }
          if (rep0 === 0xffffffff) {
            stop = "end-marker";
            break;
          }
        }
      }

      length += minimumMatch;
      let from = position - rep0 - 1;
      if (from < dictionaryStart) throw damaged("a match reaches before the data");
      const matchEnd = position + length;
      if (matchEnd > end) throw damaged("a match runs past the end of the data");
      if (length > 32 && rep0 >= length) {
        output.copyWithin(position, from, from + length);
        position = matchEnd;
      } else {
        while (position < matchEnd) output[position++] = output[from++]!;
      }
    }
    if (inputOffset > inputEnd) throw damaged("the compressed data ends early");
    this.position = position;
    this.inputOffset = inputOffset;
    this.range = range;
    this.code = code;
    this.state = state;
    this.rep0 = rep0;
    this.rep1 = rep1;
    this.rep2 = rep2;
    this.rep3 = rep3;
    return stop;
  }
}

function damaged(why: string): VmtapeError {
  return new VmtapeError("bad-file", `the LZMA data is damaged: ${why}`);
}
