import { crc32 } from "../base/compression/checksum.js";
import { VmtapeError } from "../base/errors.js";
import type { BranchBatch } from "./branch.js";
import { branchKinds } from "./branch.js";
import { chunkBits as defaultChunkBits } from "./branch-chunk-model.js";
import { type ChunkHeader, chunkHeaderLayout, encodeChunkHeader } from "./branch-log-layout.js";
import { addressBits, BranchSymbols, nodeBits, nodeLayout } from "./branch-symbols.js";
import { BranchWalkCoder } from "./branch-walk-coder.js";

/** Places in `numbers`. */
const firstBrctr = 0;
const firstIcount = 1;
const lastBrctr = 2;
const lastIcount = 3;
const newStep = 4;
const newGap = 5;

/**
 * Encodes the records of one chunk after another into the canonical bytes: they depend on nothing but the
 * chunk's records. This finds each record's symbol, `BranchWalkCoder` does the rest. About 30 M records a second.
 */
export class BranchChunkEncoder {
  private readonly span: number;
  private readonly coder = new BranchWalkCoder();
  private readonly symbols = new BranchSymbols();
  /** The symbols of the chunk's records. */
  private walk = new Int32Array(1 << 10);
  /** Open addressing: symbol + 1 by hash of its fields; at most half full. */
  private index = new Int32Array(1 << 12);
  private records = 0;
  private readonly kinds = new Uint32Array(16);
  /** First brctr of the chunk after the open one. */
  private nextChunk = 0;
  /** Addresses of the record at hand: from low, from high, to low, to high. */
  private readonly words = new Uint32Array(1 << addressBits);
  /** Counts, in a typed array because fields that hold doubles are allocated anew at each change. */
  private readonly numbers = new Float64Array(6);

  /**
   * @param chunkBits log2 of the brctr span of a chunk
   * @param icounts false: the records' icounts are not looked at, and written as 0
   */
  constructor(
    chunkBits = defaultChunkBits,
    private readonly icounts = true,
  ) {
    this.span = 2 ** chunkBits;
    this.reset();
  }

  /** Records in the open chunk. */
  get length(): number {
    return this.records;
  }

  /** Number of the open chunk (brctr divided by its span); -1 when it is empty. */
  get chunk(): number {
    return this.records === 0 ? -1 : this.nextChunk / this.span - 1;
  }

  /**
   * Adds records of a batch, from `start` on, as far as they belong to the open chunk.
   *
   * @returns the index of the first record that belongs to the next chunk (call `finish` before it), or `end`
   * @throws `bad-file` for a record out of order, of an unknown kind or without an icount
   */
  add(batch: BranchBatch, start = 0, end = batch.length): number {
    const { fromWords, toWords, kind: kinds, icount: icounts, brctr: brctrs, sparse } = batch;
    const { symbols, numbers } = this;
    for (let i = start; i < end; i++) {
      const brctr = sparse ? brctrs[i]! : batch.first + i;
      const icount = this.icounts ? icounts[i]! : 0;
      if (this.records === 0) {
        this.begin(brctr, icount);
      } else if (!(brctr < this.nextChunk)) {
        return i;
      }
      const kind = kinds[i]!;
      const step = icount - numbers[lastIcount]!;
      const gap = brctr - numbers[lastBrctr]! - 1;
      if (!(step >= 0 && gap >= 0 && kind < branchKinds.length && icount <= Number.MAX_SAFE_INTEGER)) {
        throw new VmtapeError("bad-file", refusal(kind, icount, step), { brctr, kind });
      }
      numbers[lastIcount] = icount;
      numbers[lastBrctr] = brctr;
      if (this.records === this.walk.length) this.growWalk();
      const place = this.records++;
      this.kinds[kind]!++;
      const guess = place > 0 ? (this.walk[place - 1]! << nodeBits) + nodeLayout.guess : -1;
      if (guess >= 0) {
        const follower = symbols.nodes[guess]!;
        const { addresses } = symbols;
        const words = follower << addressBits;
        const pair = i << 1;
        if (
          addresses[words] === fromWords[pair] &&
          addresses[words + 2] === toWords[pair] &&
          symbols.icountStep[follower] === step &&
          addresses[words + 1] === fromWords[pair + 1] &&
          addresses[words + 3] === toWords[pair + 1] &&
          symbols.kind[follower] === kind &&
          symbols.brctrGap[follower] === gap
        ) {
          this.walk[place] = follower;
          continue;
        }
      }
      const { words } = this;
      words[0] = fromWords[2 * i]!;
      words[1] = fromWords[2 * i + 1]!;
      words[2] = toWords[2 * i]!;
      words[3] = toWords[2 * i + 1]!;
      numbers[newStep] = step;
      numbers[newGap] = gap;
      const symbol = this.symbolOf(kind);
      this.walk[place] = symbol;
      if (guess >= 0) symbols.nodes[guess] = symbol;
    }
    return end;
  }

  private begin(brctr: number, icount: number): void {
    const { numbers } = this;
    numbers[firstBrctr] = brctr;
    numbers[firstIcount] = icount;
    numbers[lastBrctr] = brctr - 1;
    numbers[lastIcount] = icount;
    this.nextChunk = (Math.floor(brctr / this.span) + 1) * this.span;
  }

  private growWalk(): void {
    const larger = new Int32Array(2 * this.walk.length);
    larger.set(this.walk);
    this.walk = larger;
  }

  /** The symbol of the record in `words` and `numbers`. */
  private symbolOf(kind: number): number {
    const { symbols } = this;
    const place = this.find(kind);
    const known = this.index[place]! - 1;
    if (known >= 0) return known;
    const symbol = symbols.add();
    symbols.kind[symbol] = kind;
    symbols.icountStep[symbol] = this.numbers[newStep]!;
    symbols.brctrGap[symbol] = this.numbers[newGap]!;
    symbols.addresses.set(this.words, symbol << addressBits);
    this.index[place] = symbol + 1;
    if (2 * symbols.count > this.index.length) this.growIndex();
    return symbol;
  }

  /**
   * Ends the chunk and begins an empty one.
   *
   * @returns header and payload together, in bytes of its own; undefined when the chunk is empty
   */
  finish(): { readonly header: ChunkHeader; readonly bytes: Uint8Array } | undefined {
    if (this.records === 0) return undefined;
    const { events, blocks } = this.coder;
    this.coder.code(this.walk, this.records, this.symbols);
    const blocksAt = chunkHeaderLayout.size + events.length;
    const payload = new Uint8Array(blocksAt + blocks.length);
    payload.set(events.bytes.subarray(0, events.length), chunkHeaderLayout.size);
    payload.set(blocks.bytes.subarray(0, blocks.length), blocksAt);
    const header: ChunkHeader = {
      records: this.records,
      firstBrctr: this.numbers[firstBrctr]!,
      lastBrctr: this.numbers[lastBrctr]!,
      firstIcount: this.numbers[firstIcount]!,
      lastIcount: this.numbers[lastIcount]!,
      eventsBytes: events.length,
      blocksBytes: blocks.length,
      symbols: this.symbols.count,
      kinds: [...this.kinds.subarray(0, branchKinds.length)],
      payloadCrc: crc32(payload.subarray(chunkHeaderLayout.size)),
    };
    payload.set(encodeChunkHeader(header));
    this.reset();
    return { header, bytes: payload };
  }

  private reset(): void {
    this.symbols.reset();
    this.index.fill(0);
    this.kinds.fill(0);
    this.records = 0;
  }

  /** The place in `index` of the symbol with these fields, or the free place where it belongs. */
  private find(kind: number): number {
    const { index, words, numbers } = this;
    const { addresses, kind: kinds, icountStep, brctrGap } = this.symbols;
    const mask = index.length - 1;
    const step = numbers[newStep]!;
    const gap = numbers[newGap]!;
    const fromHash = words[0]! ^ Math.imul(words[1]!, 31);
    const toHash = words[2]! ^ Math.imul(words[3]!, 31);
    let place = mixed(fromHash, toHash, (step + 31 * gap) | 0) & mask;
    for (;;) {
      const symbol = index[place]! - 1;
      if (symbol < 0) return place;
      const at = symbol << addressBits;
      if (
        addresses[at] === words[0] &&
        addresses[at + 2] === words[2] &&
        icountStep[symbol] === step &&
        addresses[at + 1] === words[1] &&
        addresses[at + 3] === words[3] &&
        kinds[symbol] === kind &&
        brctrGap[symbol] === gap
      ) {
        return place;
      }
      place = (place + 1) & mask;
    }
  }

  private growIndex(): void {
    this.index = new Int32Array(2 * this.index.length);
    const { addresses, kind, icountStep, brctrGap, count } = this.symbols;
    for (let symbol = 0; symbol < count; symbol++) {
      const at = symbol << addressBits;
      this.words.set(addresses.subarray(at, at + 4));
      this.numbers[newStep] = icountStep[symbol]!;
      this.numbers[newGap] = brctrGap[symbol]!;
      this.index[this.find(kind[symbol]!)] = symbol + 1;
    }
  }
}

/** A hash of a symbol's fields; any will do, it is not part of the format. */
function mixed(from: number, to: number, step: number): number {
  let hash = Math.imul(from, 0x9e3779b1) ^ Math.imul(to, 0x85ebca6b) ^ Math.imul(step, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

function refusal(kind: number, icount: number, step: number): string {
  if (Number.isNaN(icount))
    return "a branch record without an instruction count cannot be put into a branch log";
  if (kind >= branchKinds.length) return "a branch record of unknown kind cannot be put into a branch log";
  if (step < 0) return "a branch record's instruction count is below that of the record before it";
  return "a branch record is out of order";
}
