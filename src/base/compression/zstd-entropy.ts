import { damaged } from "./output.js";

/**
 * The two entropy coders of Zstandard: finite state entropy and Huffman tables.
 * Source: RFC 8878, sections 4.1 and 4.2.
 */

/** A decoding table of finite state entropy; entry i is one state. */
export interface FseTable {
  readonly accuracy: number;
  readonly symbols: Uint8Array;
  /** Bits to read for the next state. */
  readonly bits: Uint8Array;
  /** The next state before those bits are added. */
  readonly base: Uint16Array;
}

/** A Huffman table looked up with the next `maxBits` bits. */
export interface HuffmanTable {
  readonly maxBits: number;
  /** symbol << 8 | length of its code. */
  readonly entries: Uint16Array;
}

/** Reads a normalized count table that starts at `start`; at most `maxAccuracy` bits and `maxSymbol` symbols. */
export function readFseTable(
  input: Uint8Array,
  start: number,
  end: number,
  maxAccuracy: number,
  maxSymbol: number,
): { readonly table: FseTable; readonly end: number } {
  const byte = (offset: number) => (offset < end ? input[offset]! : 0);
  let bit = start * 8;
  const peek = (count: number) => {
    const offset = bit >>> 3;
    const word = byte(offset) | (byte(offset + 1) << 8) | (byte(offset + 2) << 16);
    return (word >>> (bit & 7)) & ((1 << count) - 1);
  };
  const accuracy = peek(4) + 5;
  bit += 4;
  if (accuracy > maxAccuracy) throw damaged("zstd", "an entropy table is too large");
  const counts = new Int16Array(maxSymbol + 1);
  let remaining = (1 << accuracy) + 1;
  let symbol = 0;
  while (remaining > 1) {
    if (symbol > maxSymbol || bit > end * 8) throw damaged("zstd", "an entropy table does not add up");
    const width = 32 - Math.clz32(remaining);
    const threshold = (1 << width) - 1 - remaining;
    let value = peek(width);
    const short = value & ((1 << (width - 1)) - 1);
    if (short < threshold) {
      value = short;
      bit += width - 1;
    } else {
      if (value >= 1 << (width - 1)) value -= threshold;
      bit += width;
    }
    const count = value - 1;
    remaining -= Math.abs(count);
    counts[symbol++] = count;
    if (count === 0) {
      for (let repeat = 3; repeat === 3; ) {
        repeat = peek(2);
        bit += 2;
        symbol += repeat;
        if (symbol > maxSymbol + 1 || bit > end * 8) throw damaged("zstd", "an entropy table is cut");
      }
    }
  }
  if (remaining !== 1 || bit > end * 8) throw damaged("zstd", "an entropy table does not add up");
  return { table: buildFseTable(counts, accuracy), end: (bit + 7) >>> 3 };
}

/** The decoding table of normalized counts (−1 means less than one) that add up to 2^accuracy. */
export function buildFseTable(counts: Int16Array, accuracy: number): FseTable {
  const size = 1 << accuracy;
  const symbols = new Uint8Array(size);
  const bits = new Uint8Array(size);
  const base = new Uint16Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === -1) {
      symbols[--high] = symbol;
      next[symbol] = 1;
    } else {
      next[symbol] = counts[symbol]!;
    }
  }
  const step = (size >>> 1) + (size >>> 3) + 3;
  let position = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let i = 0; i < counts[symbol]!; i++) {
      symbols[position] = symbol;
      do position = (position + step) & (size - 1);
      while (position >= high);
    }
  }
  for (let state = 0; state < size; state++) {
    const count = next[symbols[state]!]!++;
    const width = accuracy - (31 - Math.clz32(count));
    bits[state] = width;
    base[state] = (count << width) - size;
  }
  return { accuracy, symbols, bits, base };
}

/** The table of the run-length mode, in which all symbols are the same. */
export function singleSymbolTable(symbol: number): FseTable {
  return {
    accuracy: 0,
    symbols: new Uint8Array([symbol]),
    bits: new Uint8Array(1),
    base: new Uint16Array(1),
  };
}

const maxHuffmanBits = 11;

/** Reads the Huffman tree description at `start`. */
export function readHuffmanTable(
  input: Uint8Array,
  start: number,
  end: number,
): { readonly table: HuffmanTable; readonly end: number } {
  if (start >= end) throw damaged("zstd", "a Huffman table is cut");
  const header = input[start]!;
  const weights = new Uint8Array(256);
  let count: number;
  let next: number;
  if (header >= 128) {
    count = header - 127;
    next = start + 1 + ((count + 1) >>> 1);
    if (next > end) throw damaged("zstd", "a Huffman table is cut");
    for (let i = 0; i < count; i++) {
      const pair = input[start + 1 + (i >>> 1)]!;
      weights[i] = i & 1 ? pair & 15 : pair >>> 4;
    }
  } else {
    next = start + 1 + header;
    if (next > end) throw damaged("zstd", "a Huffman table is cut");
    count = readWeights(input, start + 1, next, weights);
  }
  return { table: buildHuffmanTable(weights, count), end: next };
}

/** Decodes weights that are written backwards, with two alternating states. Returns their number. */
function readWeights(input: Uint8Array, start: number, end: number, weights: Uint8Array): number {
  const { table, end: streamStart } = readFseTable(input, start, end, 6, 12);
  if (streamStart >= end || input[end - 1] === 0) throw damaged("zstd", "a Huffman table is cut");
  let bit = (end - streamStart) * 8 - (Math.clz32(input[end - 1]!) - 24) - 1;
  const read = (count: number) => {
    let value = 0;
    for (let i = 0; i < count; i++) {
      bit--;
      value = (value << 1) | (bit >= 0 ? (input[streamStart + (bit >>> 3)]! >>> (bit & 7)) & 1 : 0);
    }
    return value;
  };
  let first = read(table.accuracy);
  let second = read(table.accuracy);
  let count = 0;
  for (;;) {
    if (count > 253) throw damaged("zstd", "a Huffman table is too long");
    weights[count++] = table.symbols[first]!;
    first = table.base[first]! + read(table.bits[first]!);
    if (bit < 0) {
      weights[count++] = table.symbols[second]!;
      return count;
    }
    [first, second] = [second, first];
  }
}

function buildHuffmanTable(weights: Uint8Array, count: number): HuffmanTable {
  let total = 0;
  for (let i = 0; i < count; i++) {
    if (weights[i]! > maxHuffmanBits) throw damaged("zstd", "a Huffman code is too long");
    if (weights[i]! > 0) total += 1 << (weights[i]! - 1);
  }
  if (total === 0) throw damaged("zstd", "a Huffman table is empty");
  const maxBits = 32 - Math.clz32(total);
  const rest = (1 << maxBits) - total;
  if (maxBits > maxHuffmanBits || (rest & (rest - 1)) !== 0) {
    throw damaged("zstd", "a Huffman table does not add up");
  }
  // The last weight is not written: it is what completes the total to a power of two.
  weights[count] = 32 - Math.clz32(rest);
  const entries = new Uint16Array(1 << maxBits);
  let position = 0;
  for (let weight = 1; weight <= maxBits; weight++) {
    const length = 1 << (weight - 1);
    for (let symbol = 0; symbol <= count; symbol++) {
      if (weights[symbol] !== weight) continue;
      entries.fill((symbol << 8) | (maxBits + 1 - weight), position, position + length);
      position += length;
    }
  }
  return { maxBits, entries };
}
