import { VmtapeError } from "../base/errors.js";
import { type BranchBatch, branchKinds, isDelivery } from "./branch.js";
import * as model from "./branch-chunk-model.js";
import { type ChunkHeader, payloadBytes } from "./branch-log-layout.js";
import { addressBits, BranchSymbols } from "./branch-symbols.js";

const { evenOdds, freeSets, hashIndex, initialRange, kindTreeBits, lengthTreeBits } = model;
/** Constants of this file, for V8 folds them into the hot loop, and loads imported ones: a quarter faster. */
const {
  hashA,
  hashB,
  hashC,
  historyMask,
  leastRange,
  settled,
  settledShift,
  slotBits,
  swapMargin,
  tableBits,
} = model;

/** Symbols decoded in one go before their fields are looked up: small enough to stay in the first cache. */
const block = 4096;
/** Zeros after the payload, so that a damaged one is noticed after a block instead of at each byte. */
const padding = 16;

/**
 * Decodes chunks, one after another, into batches. Memory depends on the chunk's number of symbols, whatever a
 * hostile payload says: at most 90 bytes for each record its header has. About 70 M records a second.
 */
export class BranchChunkDecoder {
  private readonly symbols = new BranchSymbols();
  private readonly slotOdds = new Int32Array(1 << tableBits);
  private readonly numberOdds = new Int32Array(1 << tableBits);
  private readonly freeOdds = new Int32Array(freeSets.size);
  /** Symbols that were decoded; those from `walked` to `walkEnd` were not yet given out. */
  private readonly walk = new Int32Array(block);
  private walked = 0;
  private walkEnd = 0;
  private header: ChunkHeader | undefined;
  private file = "";
  /** The payload and padding. */
  private bytes = new Uint8Array(0);
  private codedEnd = 0;
  private position = 0;
  private range = 0;
  private code = 0;
  private runsPosition = 0;
  private runsEnd = 0;
  private run = 0;
  private history = 0;
  private last = -1;
  private decoded = 0;
  /** Were records left out of the chunk? */
  private sparse = false;
  /** icount and brctr of the last record given out: an array, for a field would be allocated at each change. */
  private readonly counts = new Float64Array(2);
  /** Result of `takeWide` and `takeDistance`. */
  private low = 0;
  private high = 0;

  /** Records of the chunk that were not yet given out. */
  get remaining(): number {
    return this.header === undefined ? 0 : this.header.records - this.decoded + this.walkEnd - this.walked;
  }

  /**
   * Begins a chunk.
   *
   * @param payload copied; its length and checksum were checked against the header
   * @param file named in errors
   */
  start(header: ChunkHeader, payload: Uint8Array, file: string): void {
    this.header = header;
    this.file = file;
    const length = payloadBytes(header);
    if (this.bytes.length < length + padding) this.bytes = new Uint8Array(length + (length >> 1) + padding);
    this.bytes.set(payload.subarray(0, length));
    this.bytes.fill(0, length, length + padding);
    this.codedEnd = length;
    this.runsPosition = 0;
    this.runsEnd = header.runsBytes;
    this.symbols.reset();
    this.slotOdds.fill(evenOdds);
    this.numberOdds.fill(evenOdds);
    this.freeOdds.fill(evenOdds);
    this.history = 0;
    this.last = -1;
    this.decoded = 0;
    this.sparse = header.lastBrctr - header.firstBrctr + 1 !== header.records;
    this.walked = 0;
    this.walkEnd = 0;
    this.counts[0] = header.firstIcount;
    this.counts[1] = header.firstBrctr - 1;
    this.run = this.takeRun();
    const at = header.runsBytes;
    if (header.codedBytes < 4) throw this.damaged("its coded part is too short");
    const { bytes } = this;
    this.code = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
    this.range = initialRange;
    this.position = at + 4;
    if (this.code >= this.range) throw this.damaged("its coded part begins wrongly");
  }

  /**
   * Decodes records into a batch, after those it holds, until it is full or the chunk ends.
   *
   * @returns how many records that were
   * @throws `bad-file` when the payload does not say what its header says
   */
  read(batch: BranchBatch): number {
    const wanted = Math.min(this.remaining, batch.capacity - batch.length);
    for (let left = wanted; left > 0; ) {
      if (this.walked === this.walkEnd) this.step();
      const part = Math.min(left, this.walkEnd - this.walked);
      this.give(batch, part);
      left -= part;
    }
    if (wanted > 0 && this.remaining === 0) this.finish();
    return wanted;
  }

  /** Passes over the records whose brctr is below `limit`. About 90 M a second. */
  skipToBrctr(limit: number): void {
    this.skip(limit, Number.POSITIVE_INFINITY);
  }

  /**
   * Passes over the records made before the instant when `executed` instructions had been executed: those with a
   * lower icount, and the transfer by the last of these instructions. An interrupt or a fault that was delivered
   * at that count comes after the instant.
   */
  skipToIcount(executed: number): void {
    this.skip(Number.POSITIVE_INFINITY, executed);
  }

  private skip(brctrLimit: number, executed: number): void {
    if (this.remaining === 0) return;
    for (;;) {
      if (this.walked === this.walkEnd) this.step();
      const { walk, counts, walkEnd } = this;
      const { icountStep, brctrGap, kind } = this.symbols;
      let at = this.walked;
      let icount = counts[0]!;
      let brctr = counts[1]!;
      for (; at < walkEnd; at++) {
        const symbol = walk[at]!;
        const nextIcount = icount + icountStep[symbol]!;
        const nextBrctr = brctr + brctrGap[symbol]! + 1;
        if (nextBrctr >= brctrLimit) break;
        if (nextIcount >= executed && (nextIcount > executed || isDelivery(kind[symbol]!))) break;
        icount = nextIcount;
        brctr = nextBrctr;
      }
      this.walked = at;
      counts[0] = icount;
      counts[1] = brctr;
      if (at < walkEnd) return;
      if (this.remaining === 0) break;
    }
    this.finish();
  }

  /** brctr of the next record; undefined at the chunk's end. */
  peek(): number | undefined {
    if (this.remaining === 0) return undefined;
    if (this.walked === this.walkEnd) this.step();
    return this.counts[1]! + this.symbols.brctrGap[this.walk[this.walked]!]! + 1;
  }

  /**
   * Looks up the fields of the next `count` symbols of the walk. The bigints are only moved from one typed array to
   * another, which V8 does without making any: twice as fast as moving pairs of u32.
   */
  private give(batch: BranchBatch, count: number): void {
    const { walk, counts, walked } = this;
    const { wideAddresses, kind, icountStep } = this.symbols;
    const { from, to, kind: kinds, icount: icounts } = batch;
    const start = batch.length;
    let icount = counts[0]!;
    for (let i = 0; i < count; i++) {
      const symbol = walk[walked + i]!;
      const out = start + i;
      from[out] = wideAddresses[symbol << 1]!;
      to[out] = wideAddresses[(symbol << 1) + 1]!;
      kinds[out] = kind[symbol]!;
      icount += icountStep[symbol]!;
      icounts[out] = icount;
    }
    counts[0] = icount;
    const first = counts[1]! + 1;
    if (this.sparse || batch.sparse || (start > 0 && first !== batch.first + start)) {
      this.giveBrctr(batch, count);
    } else {
      if (start === 0) batch.first = first;
      counts[1] = first + count - 1;
    }
    batch.length = start + count;
    this.walked += count;
  }

  /** The brctr of each record, where they do not just run on. */
  private giveBrctr(batch: BranchBatch, count: number): void {
    const { walk, counts, walked } = this;
    const { brctrGap } = this.symbols;
    const { brctr: brctrs, length: start } = batch;
    let brctr = counts[1]!;
    if (!batch.sparse) for (let i = 0; i < start; i++) brctrs[i] = batch.first + i;
    for (let i = 0; i < count; i++) {
      brctr += brctrGap[walk[walked + i]!]! + 1;
      brctrs[start + i] = brctr;
    }
    batch.first = brctrs[0]!;
    batch.sparse = brctr - batch.first !== start + count - 1;
    counts[1] = brctr;
  }

  /** Fills the empty `walk` with the chunk's next symbols. The range coder is inlined: this is the hot loop. */
  private step(): void {
    const count = Math.min(block, this.header!.records - this.decoded);
    this.walked = 0;
    this.walkEnd = count;
    this.decoded += count;
    const { walk, bytes, slotOdds: odds, symbols } = this;
    let { followers, hits, used: usedSlots } = symbols;
    let { position, range, code, history, last, run } = this;
    let i = 0;
    while (i < count) {
      const used = last < 0 ? 0 : usedSlots[last]!;
      if (used === 1) {
        if (run > 0) {
          run--;
          last = followers[last << slotBits]!;
          walk[i++] = last;
          continue;
        }
      } else if (used > 1) {
        const base = last << slotBits;
        const mixedHistory = Math.imul(history, hashB);
        let slot = 0;
        let right = false;
        for (; slot < used; slot++) {
          const mixed = (Math.imul(base + slot, hashA) + mixedHistory) | 0;
          const place = Math.imul(mixed ^ (mixed >>> 15), hashC) >>> (32 - tableBits);
          const state = odds[place]!;
          const uses = state & 15;
          const p = state >>> 4;
          const shift = uses < settled ? 1 + (uses >> 1) : settledShift;
          const more = uses < settled ? uses + 1 : uses;
          const bound = Math.imul(range >>> 15, p >>> 1);
          if (code < bound) {
            range = bound;
            odds[place] = ((p + ((0x10000 - p) >> shift)) << 4) | more;
            while (range < leastRange) {
              range <<= 8;
              code = (code << 8) | bytes[position++]!;
            }
            right = true;
            break;
          }
          code -= bound;
          range -= bound;
          odds[place] = ((p - (p >> shift)) << 4) | more;
          while (range < leastRange) {
            range <<= 8;
            code = (code << 8) | bytes[position++]!;
          }
        }
        if (right) {
          const at = base + slot;
          const symbol = followers[at]!;
          const hit = hits[at]! + 1;
          hits[at] = hit;
          if (slot === 0) {
            history = (history << 1) & historyMask;
          } else {
            history = ((history << 1) | 1) & historyMask;
            const before = hits[at - 1]!;
            if (hit > 2 * before + swapMargin) {
              followers[at] = followers[at - 1]!;
              followers[at - 1] = symbol;
              hits[at] = before;
              hits[at - 1] = hit;
            }
          }
          last = symbol;
          walk[i++] = symbol;
          continue;
        }
        history = ((history << 1) | 1) & historyMask;
      }
      this.position = position;
      this.range = range;
      this.code = code;
      const symbol = this.takeSymbol(last, used);
      position = this.position;
      range = this.range;
      code = this.code;
      if (used === 1) run = this.takeRun();
      ({ followers, hits, used: usedSlots } = symbols);
      last = symbol;
      walk[i++] = symbol;
    }
    this.position = position;
    this.range = range;
    this.code = code;
    this.history = history;
    this.last = last;
    this.run = run;
    if (position > this.codedEnd) throw this.damaged("its coded part ends too early");
  }

  /** A symbol that no slot of `last` holds; it is put into one. */
  private takeSymbol(last: number, used: number): number {
    const { symbols } = this;
    let symbol: number;
    if (last < 0 || this.decide(this.freeOdds, this.isNewPlace(last, used)) === 1) {
      if (symbols.count >= this.header!.symbols)
        throw this.damaged("it has more symbols than its header says");
      symbol = symbols.add();
      this.takeFields(symbol, last);
    } else {
      const source = symbols.overflowed[last] ? last + 1 : 0;
      let prefix = 1;
      const bits = 32 - Math.clz32(symbols.count - 1);
      for (let bit = 0; bit < bits; bit++) {
        prefix = (prefix << 1) | this.decide(this.numberOdds, hashIndex(source, prefix));
      }
      symbol = prefix - (1 << bits);
      if (symbol >= symbols.count) throw this.damaged("it names a symbol it did not define");
    }
    if (last >= 0) symbols.follow(last, symbol);
    return symbol;
  }

  private isNewPlace(last: number, used: number): number {
    if (used === 0) return freeSets.isNewFresh;
    return this.symbols.overflowed[last] ? freeSets.isNewOverflowed : freeSets.isNewKnown;
  }

  private takeFields(symbol: number, last: number): void {
    const { addresses, kind: kinds, icountStep, brctrGap } = this.symbols;
    let prefix = 1;
    for (let bit = 0; bit < kindTreeBits; bit++) {
      prefix = (prefix << 1) | this.decide(this.freeOdds, freeSets.kind + prefix);
    }
    const kind = prefix - (1 << kindTreeBits);
    if (kind >= branchKinds.length) throw this.damaged("it has a record of no known kind");
    kinds[symbol] = kind;
    const words = symbol << addressBits;
    const before = last < 0 ? -1 : (last << addressBits) + 2;
    const baseLow = before < 0 ? 0 : addresses[before]!;
    const baseHigh = before < 0 ? 0 : addresses[before + 1]!;
    this.takeDistance(freeSets.from + 128 * kind, baseLow, baseHigh);
    const fromLow = this.low;
    const fromHigh = this.high;
    addresses[words] = fromLow;
    addresses[words + 1] = fromHigh;
    this.takeDistance(freeSets.to + 128 * kind, fromLow, fromHigh);
    addresses[words + 2] = this.low;
    addresses[words + 3] = this.high;
    icountStep[symbol] = this.takeCount(freeSets.icountStep);
    brctrGap[symbol] = this.takeCount(freeSets.brctrGap);
  }

  /** An unsigned number below 2^53. */
  private takeCount(set: number): number {
    this.takeWide(set);
    if (this.high >= 2 ** 21) throw this.damaged("it has a count of 2^53 or more");
    return this.high * 2 ** 32 + this.low;
  }

  /** A folded distance added to a base, modulo 2^64. */
  private takeDistance(set: number, baseLow: number, baseHigh: number): void {
    this.takeWide(set);
    const sign = this.low & 1 ? -1 : 0;
    const low = (((this.low >>> 1) | (this.high << 31)) ^ sign) >>> 0;
    const high = ((this.high >>> 1) ^ sign) >>> 0;
    const sum = baseLow + low;
    this.low = sum >>> 0;
    this.high = (baseHigh + high + (sum >= 2 ** 32 ? 1 : 0)) >>> 0;
  }

  private takeWide(set: number): void {
    let prefix = 1;
    for (let bit = 0; bit < lengthTreeBits; bit++) {
      prefix = (prefix << 1) | this.decide(this.freeOdds, set + prefix);
    }
    const length = prefix - (1 << lengthTreeBits);
    if (length > 64) throw this.damaged("it has a number of more than 64 bits");
    let low = 0;
    let high = 0;
    if (length > 32) high = 1 << (length - 33);
    else if (length > 0) low = 1 << (length - 1);
    for (let bit = length - 2; bit >= 0; bit--) {
      if (this.decideEven() === 0) continue;
      if (bit >= 32) high |= 1 << (bit - 32);
      else low |= 1 << bit;
    }
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  private decide(table: Int32Array, place: number): number {
    const state = table[place]!;
    const uses = state & 15;
    const p = state >>> 4;
    const shift = uses < settled ? 1 + (uses >> 1) : settledShift;
    const more = uses < settled ? uses + 1 : uses;
    const bound = Math.imul(this.range >>> 15, p >>> 1);
    let bit: number;
    if (this.code < bound) {
      bit = 0;
      this.range = bound;
      table[place] = ((p + ((0x10000 - p) >> shift)) << 4) | more;
    } else {
      bit = 1;
      this.code -= bound;
      this.range -= bound;
      table[place] = ((p - (p >> shift)) << 4) | more;
    }
    this.refill();
    return bit;
  }

  private decideEven(): number {
    const bound = this.range >>> 1;
    let bit: number;
    if (this.code < bound) {
      bit = 0;
      this.range = bound;
    } else {
      bit = 1;
      this.code -= bound;
      this.range -= bound;
    }
    this.refill();
    return bit;
  }

  private refill(): void {
    while (this.range < leastRange) {
      this.range <<= 8;
      this.code = (this.code << 8) | this.bytes[this.position++]!;
    }
  }

  private takeRun(): number {
    let run = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.runsPosition >= this.runsEnd) throw this.damaged("its column of runs ends too early");
      const byte = this.bytes[this.runsPosition++]!;
      run |= (byte & 0x7f) << shift;
      if (byte < 0x80) return run;
    }
    throw this.damaged("its column of runs has a number that is too long");
  }

  /** At the end of a chunk everything must be used up and agree with the header. */
  private finish(): void {
    const header = this.header!;
    const agrees =
      this.position === this.codedEnd &&
      this.runsPosition === this.runsEnd &&
      this.run === 0 &&
      this.symbols.count === header.symbols &&
      this.counts[0] === header.lastIcount &&
      this.counts[1] === header.lastBrctr;
    if (!agrees) throw this.damaged("it does not end where its header says");
  }

  private damaged(why: string): VmtapeError {
    const { firstBrctr } = this.header!;
    return new VmtapeError("bad-file", `${this.file}: the chunk at brctr ${firstBrctr} is damaged: ${why}`, {
      file: this.file,
      brctr: firstBrctr,
    });
  }
}
