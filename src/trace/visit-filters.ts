import { mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { noLinks, readRegular } from "../base/regular-file.js";

/**
 * What is kept of each chunk of a branch log once it has been looked through: which stretches of 256 bytes its
 * instructions touched, as a Bloom filter with one hash (16 kB; a chunk of half a million branches touches a few
 * thousand), and its first record. A chunk that cannot hold an address need not be decoded again.
 *
 * The file is a cache of this user's own: magic, identity of the log, count, then for each chunk a flag, the first record
 * and the filter. Numbers are little-endian.
 */
const granuleBits = 8;
const filterBits = 17;
const filterBytes = 2 ** filterBits / 8;
const firstBytes = 16;
const entryBytes = filterBytes + firstBytes + 8;
const magic = "vmtvis1\n";
const headerBytes = 8 + 8 * 3;
/** Nobody's code runs on so far without a branch; then everything is thought possible. */
const longestRun = 1024;
/** Chunks beyond these are decoded each time: 160 MB of filters. */
const mostChunks = 10_000;

/** The first record of a chunk: where the stretch before it ends. */
export interface FirstRecord {
  readonly low: number;
  readonly high: number;
  readonly icount: number;
}

export class VisitFilters {
  private readonly filters: (Uint8Array | undefined)[] = [];
  private readonly firsts: FirstRecord[] = [];
  private changed = false;

  /** @param identity of the log: its size, records and chunks. A tape and these name its bytes. */
  constructor(private readonly identity: readonly [bytes: number, records: number, chunks: number]) {}

  /** What is known of a chunk: its first record, when none of the addresses can be in it. */
  without(chunk: number, wanted: Uint32Array): FirstRecord | undefined {
    const filter = this.filters[chunk];
    if (!filter) return undefined;
    for (let i = 0; i < wanted.length; i += 2) {
      const bit = bitOf(granuleOf(wanted[i]!, wanted[i + 1]!));
      if (filter[bit >>> 3]! & (1 << (bit & 7))) return undefined;
    }
    return this.firsts[chunk];
  }

  /** A filter to fill while a chunk is looked through, when it is not known yet. */
  begin(chunk: number): ChunkFilter | undefined {
    return this.filters[chunk] || chunk >= mostChunks ? undefined : new ChunkFilter();
  }

  /** Keeps it, once every stretch that begins in the chunk has been put in. */
  keep(chunk: number, filter: ChunkFilter, first: FirstRecord): void {
    this.filters[chunk] = filter.bits;
    this.firsts[chunk] = first;
    this.changed = true;
  }

  /** Reads what an earlier run has kept; a file that does not fit is passed over. */
  async load(file: string): Promise<void> {
    const bytes = await readRegular(file, noLinks).catch(() => undefined);
    if (!bytes || bytes.length < headerBytes || bytes.toString("latin1", 0, 8) !== magic) return;
    if (this.identity.some((value, i) => bytes.readDoubleLE(8 + i * 8) !== value)) return;
    for (let at = headerBytes; at + entryBytes <= bytes.length; at += entryBytes) {
      const chunk = bytes.readUInt32LE(at);
      if (chunk >= this.identity[2]) continue;
      this.firsts[chunk] = {
        low: bytes.readUInt32LE(at + 8),
        high: bytes.readUInt32LE(at + 12),
        icount: bytes.readDoubleLE(at + 16),
      };
      this.filters[chunk] = bytes.subarray(at + 8 + firstBytes, at + entryBytes);
    }
  }

  /** Keeps what was learned; when it cannot, it is learned again. */
  async save(file: string): Promise<void> {
    if (!this.changed) return;
    const draft = `${file}.${process.pid}`;
    try {
      await mkdir(dirname(file), { recursive: true });
      const out = await open(draft, "w");
      try {
        await out.write(this.header());
        for (const [chunk, filter] of this.filters.entries()) {
          if (filter) await out.write(this.entry(chunk, filter));
        }
      } finally {
        await out.close();
      }
      await rename(draft, file);
      this.changed = false;
    } catch {
      // a full disk costs only time
    }
  }

  private header(): Buffer {
    const header = Buffer.alloc(headerBytes);
    header.write(magic, "latin1");
    this.identity.forEach((value, i) => {
      header.writeDoubleLE(value, 8 + i * 8);
    });
    return header;
  }

  private entry(chunk: number, filter: Uint8Array): Buffer {
    const entry = Buffer.alloc(entryBytes);
    const { low, high, icount } = this.firsts[chunk]!;
    entry.writeUInt32LE(chunk, 0);
    entry.writeUInt32LE(low, 8);
    entry.writeUInt32LE(high, 12);
    entry.writeDoubleLE(icount, 16);
    entry.set(filter, 8 + firstBytes);
    return entry;
  }
}

/** The filter of one chunk while it is filled. */
export class ChunkFilter {
  readonly bits = new Uint8Array(filterBytes);
  private last = -1;

  /** Puts the stretch from `to` to `from` in. */
  add(toLow: number, toHigh: number, low: number, high: number): void {
    const first = granuleOf(toLow, toHigh);
    const end = granuleOf(low, high);
    if (first === end) {
      if (first !== this.last) this.set(first);
      this.last = first;
      return;
    }
    const count = (end - first) >>> 0;
    if (count > longestRun) {
      // It ends before it begins, which no stretch does that could hold an address; or it is very long.
      if (toHigh < high || (toHigh === high && toLow < low)) this.bits.fill(0xff);
      return;
    }
    for (let i = 0; i <= count; i++) this.set((first + i) | 0);
  }

  private set(granule: number): void {
    const bit = bitOf(granule);
    this.bits[bit >>> 3]! |= 1 << (bit & 7);
  }
}

/** Bits 8 to 39 of an address. */
function granuleOf(low: number, high: number): number {
  return (low >>> granuleBits) | (high << (32 - granuleBits));
}

function bitOf(granule: number): number {
  return Math.imul(granule, 0x9e3779b1) >>> (32 - filterBits);
}
