import { VmtapeError } from "../base/errors.js";
import type { BranchBatch } from "./branch.js";
import { branchKinds } from "./branch.js";
import { crc32 } from "./branch-checksum.js";
import {
  chunkBits as defaultChunkBits,
  evenOdds,
  freeSets,
  hashIndex,
  historyMask,
  kindTreeBits,
  lengthTreeBits,
  slotBits,
  swapMargin,
  tableBits,
} from "./branch-chunk-model.js";
import { type ChunkHeader, chunkHeaderLayout, encodeChunkHeader } from "./branch-log-layout.js";
import { BranchRangeEncoder } from "./branch-range-encoder.js";
import { addressBits, BranchSymbols } from "./branch-symbols.js";

/** Places in `numbers`. */
const firstBrctr = 0;
const firstIcount = 1;
const lastBrctr = 2;
const lastIcount = 3;
const newStep = 4;
const newGap = 5;

/**
 * Encodes the records of one chunk after another into the canonical bytes: they depend on nothing but the
 * chunk's records. This encoder defines them; the plugin's has to give the same. About 20 M records a second.
 */
export class BranchChunkEncoder {
  private readonly span: number;
  private readonly coder = new BranchRangeEncoder();
  private readonly symbols = new BranchSymbols();
  private readonly slotOdds = new Int32Array(1 << tableBits);
  private readonly numberOdds = new Int32Array(1 << tableBits);
  private readonly freeOdds = new Int32Array(freeSets.size);
  /** Open addressing: symbol + 1 by hash of its fields; at most half full. */
  private index = new Int32Array(1 << 12);
  private runs = new Uint8Array(1 << 10);
  private runsLength = 0;
  private run = 0;
  private history = 0;
  private last = -1;
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
      this.records++;
      this.kinds[kind]!++;
      const last = this.last;
      if (last >= 0 && symbols.used[last] === 1) {
        const follower = symbols.followers[last << slotBits]!;
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
          this.run++;
          this.last = follower;
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
      this.push(kind);
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

  /** Codes the record in `words` and `numbers`, which is not the one taken for granted. */
  private push(kind: number): void {
    const { symbols, last } = this;
    const used = last < 0 ? 0 : symbols.used[last]!;
    if (used === 1) this.endRun();
    const place = this.find(kind);
    const known = this.index[place]! - 1;
    if (used > 1 && this.tryFollowers(last, used, known)) {
      this.last = known;
      return;
    }
    let symbol = known;
    if (last >= 0) this.codeIsNew(last, used, known < 0 ? 1 : 0);
    if (known < 0) {
      symbol = symbols.add();
      symbols.kind[symbol] = kind;
      symbols.icountStep[symbol] = this.numbers[newStep]!;
      symbols.brctrGap[symbol] = this.numbers[newGap]!;
      symbols.addresses.set(this.words, symbol << addressBits);
      this.define(symbol, last);
      this.index[place] = symbol + 1;
      if (2 * symbols.count > this.index.length) this.growIndex();
    } else {
      this.codeNumber(symbol, last);
    }
    if (last >= 0) symbols.follow(last, symbol);
    this.last = symbol;
  }

  /** Confirms or denies each slot of `last`; was one of them right? */
  private tryFollowers(last: number, used: number, symbol: number): boolean {
    const { followers, hits } = this.symbols;
    const { history } = this;
    const base = last << slotBits;
    for (let slot = 0; slot < used; slot++) {
      const at = base + slot;
      const wrong = followers[at] === symbol ? 0 : 1;
      this.coder.decide(this.slotOdds, hashIndex(at, history), wrong);
      if (wrong) continue;
      const count = hits[at]! + 1;
      hits[at] = count;
      this.history = ((history << 1) | (slot === 0 ? 0 : 1)) & historyMask;
      if (slot > 0) {
        const before = hits[at - 1]!;
        if (count > 2 * before + swapMargin) {
          followers[at] = followers[at - 1]!;
          followers[at - 1] = symbol;
          hits[at] = before;
          hits[at - 1] = count;
        }
      }
      return true;
    }
    this.history = ((history << 1) | 1) & historyMask;
    return false;
  }

  private codeIsNew(last: number, used: number, isNew: number): void {
    const known = this.symbols.overflowed[last] ? freeSets.isNewOverflowed : freeSets.isNewKnown;
    this.coder.decide(this.freeOdds, used === 0 ? freeSets.isNewFresh : known, isNew);
  }

  /** A known symbol by its number, highest bit first. */
  private codeNumber(symbol: number, last: number): void {
    const source = this.symbols.overflowed[last] ? last + 1 : 0;
    let prefix = 1;
    for (let bit = 31 - Math.clz32(this.symbols.count - 1); bit >= 0; bit--) {
      const value = (symbol >> bit) & 1;
      this.coder.decide(this.numberOdds, hashIndex(source, prefix), value);
      prefix = (prefix << 1) | value;
    }
  }

  /** A new symbol's fields: kind, from relative to the last to, to relative to from, step, gap. */
  private define(symbol: number, last: number): void {
    const { addresses, kind: kinds, icountStep, brctrGap } = this.symbols;
    const kind = kinds[symbol]!;
    let prefix = 1;
    for (let bit = kindTreeBits - 1; bit >= 0; bit--) {
      const value = (kind >> bit) & 1;
      this.coder.decide(this.freeOdds, freeSets.kind + prefix, value);
      prefix = (prefix << 1) | value;
    }
    const words = symbol << addressBits;
    const before = last < 0 ? -1 : (last << addressBits) + 2;
    const fromLow = addresses[words]!;
    const fromHigh = addresses[words + 1]!;
    const baseLow = before < 0 ? 0 : addresses[before]!;
    const baseHigh = before < 0 ? 0 : addresses[before + 1]!;
    this.codeDistance(freeSets.from + 128 * kind, fromLow, fromHigh, baseLow, baseHigh);
    this.codeDistance(
      freeSets.to + 128 * kind,
      addresses[words + 2]!,
      addresses[words + 3]!,
      fromLow,
      fromHigh,
    );
    const step = icountStep[symbol]!;
    this.codeWide(freeSets.icountStep, step >>> 0, Math.floor(step / 2 ** 32));
    const gap = brctrGap[symbol]!;
    this.codeWide(freeSets.brctrGap, gap >>> 0, Math.floor(gap / 2 ** 32));
  }

  /** `value - base` modulo 2^64 as a signed number, folded: 0, -1, 1, -2 … become 0, 1, 2, 3 … */
  private codeDistance(set: number, low: number, high: number, baseLow: number, baseHigh: number): void {
    const distanceLow = (low - baseLow) >>> 0;
    const distanceHigh = (high - baseHigh - (low < baseLow ? 1 : 0)) >>> 0;
    const sign = distanceHigh & 0x8000_0000 ? -1 : 0;
    this.codeWide(
      set,
      ((distanceLow << 1) ^ sign) >>> 0,
      ((distanceHigh << 1) ^ (distanceLow >>> 31) ^ sign) >>> 0,
    );
  }

  /** An unsigned 64-bit number: its bit length by a tree, then the bits below the highest one at even odds. */
  private codeWide(set: number, low: number, high: number): void {
    const length = high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high);
    let prefix = 1;
    for (let bit = lengthTreeBits - 1; bit >= 0; bit--) {
      const value = (length >> bit) & 1;
      this.coder.decide(this.freeOdds, set + prefix, value);
      prefix = (prefix << 1) | value;
    }
    for (let bit = length - 2; bit >= 0; bit--) {
      this.coder.decideEven((bit >= 32 ? high >>> (bit - 32) : low >>> bit) & 1);
    }
  }

  /** Writes the run of right guesses, 7 bits a byte, lowest first. */
  private endRun(): void {
    if (this.runsLength + 5 > this.runs.length) {
      const larger = new Uint8Array(2 * this.runs.length);
      larger.set(this.runs);
      this.runs = larger;
    }
    let rest = this.run;
    for (; rest > 0x7f; rest >>>= 7) this.runs[this.runsLength++] = (rest & 0x7f) | 0x80;
    this.runs[this.runsLength++] = rest;
    this.run = 0;
  }

  /**
   * Ends the chunk and begins an empty one.
   *
   * @returns header and payload together, in bytes of its own; undefined when the chunk is empty
   */
  finish(): { readonly header: ChunkHeader; readonly bytes: Uint8Array } | undefined {
    if (this.records === 0) return undefined;
    this.endRun();
    this.coder.finish();
    const payload = new Uint8Array(chunkHeaderLayout.size + this.runsLength + this.coder.length);
    payload.set(this.runs.subarray(0, this.runsLength), chunkHeaderLayout.size);
    payload.set(this.coder.bytes.subarray(0, this.coder.length), chunkHeaderLayout.size + this.runsLength);
    const header: ChunkHeader = {
      records: this.records,
      firstBrctr: this.numbers[firstBrctr]!,
      lastBrctr: this.numbers[lastBrctr]!,
      firstIcount: this.numbers[firstIcount]!,
      lastIcount: this.numbers[lastIcount]!,
      runsBytes: this.runsLength,
      codedBytes: this.coder.length,
      symbols: this.symbols.count,
      kinds: [...this.kinds.subarray(0, branchKinds.length)],
      payloadCrc: crc32(payload.subarray(chunkHeaderLayout.size)),
    };
    payload.set(encodeChunkHeader(header));
    this.reset();
    return { header, bytes: payload };
  }

  private reset(): void {
    this.coder.reset();
    this.symbols.reset();
    this.slotOdds.fill(evenOdds);
    this.numberOdds.fill(evenOdds);
    this.freeOdds.fill(evenOdds);
    this.index.fill(0);
    this.kinds.fill(0);
    this.runsLength = 0;
    this.run = 0;
    this.history = 0;
    this.last = -1;
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
