import { type Decompressed, damaged, Output, type OutputLimits } from "./output.js";

/**
 * Reader of bzip2. Source: the format as bzip2 1.0.8 writes it (its decompress.c), and "bzip2 format specification" of
 * Joe Tsai, 2016. Streams may follow each other, as pbzip2 writes them.
 */

const levelSize = 100_000;
const mostGroups = 6;
const fewestGroups = 2;
/** Symbols coded with one table. */
const groupRun = 50;
const mostSelectors = 32768;
const longestCode = 20;
const mostSymbols = 258;
const blockMark = [0x314159, 0x265359] as const;
const endMark = [0x177245, 0x385090] as const;

/** Whether the bytes start a bzip2 stream: `BZh`, a level, and the mark of a block or of the end. */
export function isBzip2(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x5a && bytes[2] === 0x68;
}

/**
 * Unpacks the streams at the start of the input. About 10 MB/s of what comes out, as bzip2 itself.
 *
 * @throws VmtapeError `bad-file`, `limit-exceeded`
 */
export function decompressBzip2(input: Uint8Array, limits: OutputLimits): Decompressed {
  const output = new Output(input.length, limits);
  const bits = new Bits(input);
  const decoder = new BlockDecoder(bits);
  let used = 0;
  do {
    const level = (input[bits.position + 3] ?? 0) - 0x30;
    if (!(level >= 1 && level <= 9)) throw damaged("bzip2", "the header is cut");
    bits.move(bits.position + 4);
    let combined = 0;
    for (;;) {
      const mark = [bits.take(24), bits.take(24)];
      const expected = bits.word();
      if (mark[0] === endMark[0] && mark[1] === endMark[1]) {
        if (expected !== combined) throw damaged("bzip2", "the checksum of the contents is wrong");
        break;
      }
      if (mark[0] !== blockMark[0] || mark[1] !== blockMark[1]) {
        throw damaged("bzip2", "a block does not begin where one ended");
      }
      const before = used;
      used = decoder.decode(level * levelSize, output, used);
      const crc = blockChecksum(output.bytes, before, used);
      if (crc !== expected) throw damaged("bzip2", "the checksum of a block is wrong");
      combined = (((combined << 1) | (combined >>> 31)) ^ crc) >>> 0;
      if (limits.enough?.(output.bytes, used)) {
        return { bytes: output.bytes.subarray(0, used), consumed: bits.position };
      }
    }
    bits.align();
  } while (isBzip2(input.subarray(bits.position)));
  return { bytes: output.bytes.subarray(0, used), consumed: bits.position };
}

/** Reads bits, the highest of each byte first. */
class Bits {
  private at = 0;
  /** Bits taken of the byte at `at`. */
  private taken = 0;

  constructor(private readonly input: Uint8Array) {}

  /** Offset of the first byte of which no bit was taken. */
  get position(): number {
    return this.taken === 0 ? this.at : this.at + 1;
  }

  move(offset: number): void {
    this.at = offset;
    this.taken = 0;
  }

  align(): void {
    this.move(this.position);
  }

  /** Takes up to 24 bits. */
  take(count: number): number {
    const { input, at, taken } = this;
    if (at * 8 + taken + count > input.length * 8) throw damaged("bzip2", "it ends early");
    const word =
      ((input[at]! << 24) |
        ((input[at + 1] ?? 0) << 16) |
        ((input[at + 2] ?? 0) << 8) |
        (input[at + 3] ?? 0)) <<
      taken;
    this.taken = (taken + count) & 7;
    this.at = at + ((taken + count) >>> 3);
    return count === 0 ? 0 : word >>> (32 - count);
  }

  word(): number {
    return this.take(16) * 65536 + this.take(16);
  }

  /** The next bits, as many as the longest code has, without taking them; zeros after the end of the input. */
  peek(): number {
    const { input, at, taken } = this;
    const word =
      (((input[at] ?? 0) << 24) |
        ((input[at + 1] ?? 0) << 16) |
        ((input[at + 2] ?? 0) << 8) |
        (input[at + 3] ?? 0)) <<
      taken;
    return word >>> (32 - longestCode);
  }

  /** Takes bits that `peek` has shown. */
  skip(count: number): void {
    const next = this.taken + count;
    this.at += next >>> 3;
    this.taken = next & 7;
    if (this.at * 8 + this.taken > this.input.length * 8) throw damaged("bzip2", "it ends early");
  }
}

/** A canonical prefix code. */
class CodeTable {
  /** For each length, one more than its last code, shifted left to the longest length. */
  private readonly limits = new Int32Array(longestCode + 2);
  /** For each length, what to add to a code to get the index of its symbol. */
  private readonly bases = new Int32Array(longestCode + 2);
  private readonly symbols: Uint16Array;
  /** Symbol and length by the first bits of a code, for short ones: symbol × 32 + length. */
  private readonly fast = new Uint16Array(1 << fastBits);

  constructor(lengths: Uint8Array, count: number) {
    const counts = new Int32Array(longestCode + 2);
    for (let i = 0; i < count; i++) counts[lengths[i]!]!++;
    this.symbols = new Uint16Array(count);
    const starts = new Int32Array(longestCode + 2);
    let code = 0;
    let placed = 0;
    for (let length = 1; length <= longestCode; length++) {
      starts[length] = placed;
      this.bases[length] = placed - code;
      code += counts[length]!;
      placed += counts[length]!;
      if (code > 1 << length) throw damaged("bzip2", "a code has too many words");
      this.limits[length] = code << (longestCode - length);
      code <<= 1;
    }
    for (let i = 0; i < count; i++) this.symbols[starts[lengths[i]!]!++] = i;
    for (let first = 0; first < 1 << fastBits; first++) {
      const found = this.search(first << (longestCode - fastBits));
      if (found >= 0 && (found & 31) <= fastBits) this.fast[first] = found;
    }
  }

  read(bits: Bits): number {
    const ahead = bits.peek();
    const found = this.fast[ahead >>> (longestCode - fastBits)]! || this.search(ahead);
    if (found < 0) throw damaged("bzip2", "a code word is none");
    bits.skip(found & 31);
    return found >>> 5;
  }

  private search(ahead: number): number {
    for (let length = 1; length <= longestCode; length++) {
      if (ahead >= this.limits[length]!) continue;
      return this.symbols[(ahead >>> (longestCode - length)) + this.bases[length]!]! * 32 + length;
    }
    return -1;
  }
}

const fastBits = 10;

/** Unpacks blocks; its tables are used again. */
class BlockDecoder {
  /**
   * The last column of the sorted rotations; the byte in the low 8 bits, the place of its successor in the 24 bits
   * above.
   */
  private links = new Uint32Array(0);
  private readonly selectors = new Uint8Array(mostSelectors);
  private readonly lengths = new Uint8Array(mostSymbols);

  constructor(private readonly bits: Bits) {}

  /** Unpacks a block, whose mark and checksum were read, to `start`. Returns the new end. */
  decode(size: number, output: Output, start: number): number {
    const { bits } = this;
    if (bits.take(1) !== 0) throw damaged("bzip2", "a block is randomised, which no tool does since 2000");
    const origin = bits.take(24);
    const { alphabet, tables, groups } = this.readTables();
    if (this.links.length < size) this.links = new Uint32Array(size);
    const length = this.readSymbols(size, alphabet, tables, groups);
    if (origin >= length) throw damaged("bzip2", "a block begins outside itself");
    return this.unsort(length, origin, output, start);
  }

  private readTables() {
    const { bits, selectors, lengths } = this;
    const used = bits.take(16);
    const bytes: number[] = [];
    for (let high = 0; high < 16; high++) {
      if (!(used & (0x8000 >>> high))) continue;
      const row = bits.take(16);
      for (let low = 0; low < 16; low++) if (row & (0x8000 >>> low)) bytes.push(high * 16 + low);
    }
    if (bytes.length === 0) throw damaged("bzip2", "a block uses no bytes");
    const tableCount = bits.take(3);
    const groups = bits.take(15);
    if (tableCount < fewestGroups || tableCount > mostGroups || groups === 0) {
      throw damaged("bzip2", "a block has no tables");
    }
    const order = Uint8Array.from({ length: tableCount }, (_, i) => i);
    for (let i = 0; i < groups; i++) {
      let place = 0;
      while (bits.take(1)) if (++place >= tableCount) throw damaged("bzip2", "a table is none");
      const table = order[place]!;
      order.copyWithin(1, 0, place);
      order[0] = table;
      selectors[i] = table;
    }
    const count = bytes.length + 2;
    const tables: CodeTable[] = [];
    for (let table = 0; table < tableCount; table++) {
      let length = bits.take(5);
      for (let i = 0; i < count; i++) {
        for (;;) {
          if (length < 1 || length > longestCode) throw damaged("bzip2", "a code is too long");
          if (!bits.take(1)) break;
          length += bits.take(1) ? -1 : 1;
        }
        lengths[i] = length;
      }
      tables.push(new CodeTable(lengths, count));
    }
    return { alphabet: Uint8Array.from(bytes), tables, groups };
  }

  /** Undoes the run-length and move-to-front coding, into the low bytes of `links`. Returns the number of bytes. */
  private readSymbols(size: number, front: Uint8Array, tables: readonly CodeTable[], groups: number): number {
    const { bits, links, selectors } = this;
    const end = front.length + 1;
    let length = 0;
    let run = 0;
    let weight = 1;
    for (let group = 0; group < groups; group++) {
      const table = tables[selectors[group]!]!;
      for (let i = 0; i < groupRun; i++) {
        const symbol = table.read(bits);
        if (symbol < 2) {
          // The length of a run, in digits 1 and 2.
          run += weight << symbol;
          weight *= 2;
          if (run > size) throw damaged("bzip2", "a block is too large");
          continue;
        }
        if (run > 0) {
          if (length + run > size) throw damaged("bzip2", "a block is too large");
          links.fill(front[0]!, length, length + run);
          length += run;
          run = 0;
        }
        weight = 1;
        if (symbol === end) return length;
        if (length >= size) throw damaged("bzip2", "a block is too large");
        const place = symbol - 1;
        const byte = front[place]!;
        front.copyWithin(1, 0, place);
        front[0] = byte;
        links[length++] = byte;
      }
    }
    throw damaged("bzip2", "a block has no end");
  }

  /** Undoes the sorting (Burrows–Wheeler transform), and writes out the runs of the first run-length coding. */
  private unsort(length: number, origin: number, output: Output, start: number): number {
    const { links } = this;
    const starts = new Uint32Array(256);
    for (let i = 0; i < length; i++) starts[links[i]! & 0xff]!++;
    for (let byte = 0, sum = 0; byte < 256; byte++) {
      const count = starts[byte]!;
      starts[byte] = sum;
      sum += count;
    }
    for (let i = 0; i < length; i++) {
      const to = starts[links[i]! & 0xff]!++;
      links[to] = links[to]! | (i << 8);
    }
    let position = start;
    let bytes = output.reserve(Math.min(start + length, output.maximum), start);
    let at = links[origin]! >>> 8;
    let last = -1;
    let same = 0;
    for (let i = 0; i < length; i++) {
      const entry = links[at]!;
      at = entry >>> 8;
      const byte = entry & 0xff;
      const isCount = same === 4;
      const times = isCount ? byte : 1;
      if (position + times > bytes.length) bytes = output.reserve(position + times, position);
      if (isCount) {
        bytes.fill(last, position, position + times);
        position += times;
        same = 0;
        last = -1;
      } else {
        bytes[position++] = byte;
        same = byte === last ? same + 1 : 1;
        last = byte;
      }
    }
    return position;
  }
}

const checksums = new Uint32Array(256).map((_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1;
  return value;
});

/** CRC-32 with the highest bit first. */
function blockChecksum(bytes: Uint8Array, start: number, end: number): number {
  let value = -1;
  for (let i = start; i < end; i++) value = (value << 8) ^ checksums[(value >>> 24) ^ bytes[i]!]!;
  return ~value >>> 0;
}
