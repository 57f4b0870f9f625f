import { VmtapeError } from "../base/errors.js";
import { type BranchBatch, branchKindCodes, branchKinds, isDelivery } from "./branch.js";
import { BranchBitReader, bitPadding } from "./branch-bit-reader.js";
import { classAfter, takeBlock } from "./branch-block-code.js";
import * as model from "./branch-chunk-model.js";
import { type ChunkHeader, payloadBytes } from "./branch-log-layout.js";
import { addressBits, BranchSymbols, blockLayout, nodeLayout } from "./branch-symbols.js";

const { leastBits, longLengthBits, repeat, slots, toLengthBits, toLong } = model;
/** Constants of this file, for V8 folds them into the hot loop, and loads imported ones: a quarter faster. */
const nodeBits = 4;
const fullBlock = 62;
const { used: usedAt, turn: turnAt, choice: choiceAt } = nodeLayout;

/** Kinds by their short codes. */
const shortKinds = [branchKindCodes.conditional, branchKindCodes.call, branchKindCodes.return] as const;

/** Symbols decoded in one go before their fields are looked up: small enough to stay in the first cache. */
const block = 4096;
/**
 * Decodes chunks, one after another, into batches. Memory depends on the chunk's number of symbols, whatever a
 * hostile payload says: at most 200 bytes for each record its header has. About 100 M records a second.
 */
export class BranchChunkDecoder {
  private readonly symbols = new BranchSymbols();
  private readonly events = new BranchBitReader();
  private readonly blocks = new BranchBitReader();
  /** The chunk's symbols as far as they are decoded; those from `walked` to `decoded` were not yet given out. */
  private walk = new Int32Array(block);
  private walked = 0;
  private decoded = 0;
  private header: ChunkHeader | undefined;
  private file = "";
  /** The payload and padding. */
  private bytes = new Uint8Array(0);
  /** The record that the next event is about; the chunk's end when there is none. */
  private nextEvent = 0;
  /** Where the repeat at hand ends, and how far back it repeats. */
  private repeatEnd = 0;
  private repeatDistance = 0;
  /** Were records left out of the chunk? */
  private sparse = false;
  /** icount and brctr of the last record given out: an array, for a field would be allocated at each change. */
  private readonly counts = new Float64Array(2);
  /** Records of the chunk that were not yet given out. */
  get remaining(): number {
    return this.header === undefined ? 0 : this.header.records - this.walked;
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
    if (this.bytes.length < length + bitPadding) {
      this.bytes = new Uint8Array(length + (length >> 1) + bitPadding);
    }
    this.bytes.set(payload.subarray(0, length));
    this.bytes.fill(0, length, length + bitPadding);
    if (this.walk.length < header.records) this.walk = new Int32Array(header.records);
    this.events.start(this.bytes, 0, header.eventsBytes);
    this.blocks.start(this.bytes, header.eventsBytes, length);
    this.symbols.reset();
    this.decoded = 0;
    this.walked = 0;
    this.repeatEnd = 0;
    this.sparse = header.lastBrctr - header.firstBrctr + 1 !== header.records;
    this.counts[0] = header.firstIcount;
    this.counts[1] = header.firstBrctr - 1;
    this.takeNextEvent(0);
    if (this.nextEvent > 0) throw this.damaged("it does not begin with a symbol");
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
      if (this.walked === this.decoded) this.step();
      const part = Math.min(left, this.decoded - this.walked);
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
      if (this.walked === this.decoded) this.step();
      const { walk, counts, decoded } = this;
      const { icountStep, brctrGap, kind } = this.symbols;
      let at = this.walked;
      let icount = counts[0]!;
      let brctr = counts[1]!;
      for (; at < decoded; at++) {
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
      if (at < decoded) return;
      if (this.remaining === 0) break;
    }
    this.finish();
  }

  /** brctr of the next record; undefined at the chunk's end. */
  peek(): number | undefined {
    if (this.remaining === 0) return undefined;
    if (this.walked === this.decoded) this.step();
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

  /** Decodes the chunk's next symbols. This is the hot loop. */
  private step(): void {
    const end = Math.min(this.decoded + block, this.header!.records);
    const { walk } = this;
    let at = this.decoded;
    while (at < end) {
      if (at < this.repeatEnd) {
        const stop = Math.min(end, this.repeatEnd);
        const distance = this.repeatDistance;
        for (; at < stop; at++) walk[at] = walk[at - distance]!;
      } else if (at === this.nextEvent) {
        at = this.takeEvent(at);
      } else {
        const stop = Math.min(end, this.nextEvent);
        this.follow(at, stop);
        at = stop;
      }
    }
    this.decoded = end;
    if (this.events.isOver || this.blocks.isOver) throw this.damaged("it ends too early");
  }

  /** Goes on from slot to slot: the records from `at` to `stop`. */
  private follow(at: number, stop: number): void {
    const { walk } = this;
    const { nodes } = this.symbols;
    let last = walk[at - 1]!;
    for (let i = at; i < stop; i++) {
      const node = last << nodeBits;
      const used = nodes[node + usedAt]!;
      if (used > 1) {
        const turn = node + turnAt;
        const first = nodes[turn]!;
        const passed = nodes[turn + 2]! + 1;
        let slot = first >>> 31;
        nodes[turn] = passed === 32 ? nodes[turn + 1]! : first << 1;
        nodes[turn + 2] = passed;
        if (passed === fullBlock) this.nextBlock(nodes, turn);
        if (slot > 0 && used > 2) slot = this.takeChoice(nodes, node + choiceAt, used);
        last = nodes[node + slot]!;
      } else {
        if (used === 0) throw this.damaged("it goes on where nothing follows");
        last = nodes[node]!;
      }
      walk[i] = last;
    }
  }

  /** Which slot but the first. */
  private takeChoice(nodes: Int32Array, choice: number, used: number): number {
    const first = nodes[choice]!;
    const second = nodes[choice + 1]!;
    const bits = used - 2;
    const passed = nodes[choice + 2]! + bits;
    const slot = 1 + (first >>> (32 - bits));
    nodes[choice] = (first << bits) | (second >>> (32 - bits));
    nodes[choice + 1] = second << bits;
    nodes[choice + 2] = passed;
    if (slot >= slots) throw this.damaged("it goes on in a slot that is not there");
    if (passed >= fullBlock) this.nextBlock(nodes, choice);
    return slot;
  }

  /** The block of answers after one that is passed. Its answers are kept beside it, for its ones tell the class. */
  private nextBlock(nodes: Int32Array, place: number): void {
    this.openBlock(nodes, place, nodes[place + blockLayout.kind]!);
  }

  /** Reads a block of answers of a class. */
  private openBlock(nodes: Int32Array, place: number, kind: number): void {
    if (!takeBlock(this.blocks, kind, nodes, place)) throw this.damaged("it has a block of no known code");
    nodes[place + blockLayout.passed] = 0;
    nodes[place + blockLayout.kind] = classAfter(nodes[place]!, nodes[place + 1]!);
  }

  /** Finds out where the next event is. */
  private takeNextEvent(at: number): void {
    const left = this.header!.records - at;
    this.nextEvent = at;
    if (left === 0) return;
    if (!this.events.takeNumber(leastBits.event) || this.events.high > 0 || this.events.low > left) {
      throw this.damaged("it has an event beyond its end");
    }
    this.nextEvent = at + this.events.low;
  }

  /**
   * An event: a repeat, or the symbol of record `at`.
   *
   * @returns the record that is next
   */
  private takeEvent(at: number): number {
    const { events, symbols, walk } = this;
    const isNewOrRepeat = events.take(1) === 1;
    if (isNewOrRepeat && events.take(1) === 1) {
      this.takeRepeat(at);
      return at;
    }
    let symbol: number;
    if (isNewOrRepeat) {
      if (symbols.count >= this.header!.symbols) {
        throw this.damaged("it has more symbols than its header says");
      }
      symbol = symbols.add();
      this.takeFields(symbol, at === 0 ? -1 : walk[at - 1]!);
    } else {
      symbol = events.take(symbols.count > 1 ? 32 - Math.clz32(symbols.count - 1) : 0);
      if (symbol >= symbols.count) throw this.damaged("it names a symbol it did not define");
    }
    walk[at] = symbol;
    if (at > 0) {
      const question = symbols.follow(walk[at - 1]!, symbol);
      if (question > 0) this.openBlock(symbols.nodes, question, 0);
    }
    if (events.isOver) throw this.damaged("it ends too early");
    this.takeNextEvent(at + 1);
    return at + 1;
  }

  private takeRepeat(at: number): void {
    const distance = this.takeCount(leastBits.distance) + 1;
    const length = this.takeCount(leastBits.length) + repeat.least;
    if (distance > at || length > this.header!.records - at)
      throw this.damaged("it repeats what is not there");
    this.repeatDistance = distance;
    this.repeatEnd = at + length;
    this.takeNextEvent(this.repeatEnd);
  }

  private takeFields(symbol: number, last: number): void {
    const { events } = this;
    const { addresses, kind: kinds, icountStep, brctrGap } = this.symbols;
    const code = events.take(2);
    const kind = shortKinds[code] ?? (events.take(1) === 0 ? branchKindCodes.jump : events.take(4));
    if (kind >= branchKinds.length) throw this.damaged("it has a record of no known kind");
    kinds[symbol] = kind;
    const words = symbol << addressBits;
    const before = (last << addressBits) + 2;
    if (!events.takeNumber(leastBits.from)) throw this.tooLong();
    this.putSum(words, last < 0 ? 0 : addresses[before]!, last < 0 ? 0 : addresses[before + 1]!);
    let length = events.take(toLengthBits);
    if (length === toLong) length = events.take(longLengthBits);
    if (length > 64) throw this.tooLong();
    events.takeBelow(length);
    const sign = events.low & 1 ? -1 : 0;
    const { low, high } = events;
    events.low = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
    events.high = ((high >>> 1) ^ sign) >>> 0;
    this.putSum(words + 2, addresses[words]!, addresses[words + 1]!);
    icountStep[symbol] = this.takeCount(leastBits.step);
    brctrGap[symbol] = this.takeCount(leastBits.gap);
  }

  /** Adds the number just taken to an address, modulo 2^64. */
  private putSum(words: number, low: number, high: number): void {
    const { addresses } = this.symbols;
    const sum = low + this.events.low;
    addresses[words] = sum;
    addresses[words + 1] = high + this.events.high + (sum >= 2 ** 32 ? 1 : 0);
  }

  /** An unsigned number below 2^53. */
  private takeCount(least: number): number {
    const { events } = this;
    if (!events.takeNumber(least)) throw this.tooLong();
    if (events.high >= 2 ** 21) throw this.damaged("it has a count of 2^53 or more");
    return events.high * 2 ** 32 + events.low;
  }

  private tooLong(): VmtapeError {
    return this.damaged(this.events.isOver ? "it ends too early" : "it has a number of more than 64 bits");
  }

  /** At the end of a chunk everything must be used up and agree with the header. */
  private finish(): void {
    const header = this.header!;
    const agrees =
      this.events.isAtEnd &&
      this.blocks.isAtEnd &&
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
