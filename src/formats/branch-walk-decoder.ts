import { VmtapeError } from "../base/errors.js";
import { branchKindCodes, branchKinds } from "./branch.js";
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
const { second: secondAt, passed: passedAt, kind: classAt } = blockLayout;

/** Kinds by their short codes. */
const shortKinds = [branchKindCodes.conditional, branchKindCodes.call, branchKindCodes.return] as const;

/** Symbols decoded in one go: few enough to stay in the first cache until their fields are looked up. */
const part = 4096;

/**
 * Decodes the walks of chunks, one after another: from the two parts of a payload to symbol numbers. Refuses what
 * no encoder writes.
 */
export class BranchWalkDecoder {
  readonly symbols = new BranchSymbols();
  /** The chunk's symbols as far as they are `decoded` (borrowed: replaced at the start of a longer chunk). */
  walk = new Int32Array(part);
  decoded = 0;
  private readonly events = new BranchBitReader();
  private readonly blocks = new BranchBitReader();
  private header: ChunkHeader | undefined;
  private file = "";
  /** The payload and padding. */
  private bytes = new Uint8Array(0);
  /** The record that the next event is about; the chunk's end when there is none. */
  private nextEvent = 0;
  /** Where the repeat at hand ends, and how far back it repeats. */
  private repeatEnd = 0;
  private repeatDistance = 0;

  /**
   * Begins a chunk.
   *
   * @param payload copied
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
    this.repeatEnd = 0;
    this.takeNextEvent(0);
    if (this.nextEvent > 0) throw this.damaged("it does not begin with a symbol");
  }

  /** Is all of the payload used up, and were all symbols in it? */
  get isAtEnd(): boolean {
    return this.events.isAtEnd && this.blocks.isAtEnd && this.symbols.count === this.header!.symbols;
  }

  /** Decodes the next symbols: some thousand of them, or up to the chunk's end. */
  step(): void {
    const end = Math.min(this.decoded + part, this.header!.records);
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

  /** Goes on from slot to slot: the records from `at` to `stop`. This is the hot loop. */
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
        const passed = nodes[turn + passedAt]! + 1;
        let slot = first >>> 31;
        nodes[turn] = passed === 32 ? nodes[turn + secondAt]! : first << 1;
        nodes[turn + passedAt] = passed;
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
    const second = nodes[choice + secondAt]!;
    const bits = used - 2;
    const passed = nodes[choice + passedAt]! + bits;
    const slot = 1 + (first >>> (32 - bits));
    nodes[choice] = (first << bits) | (second >>> (32 - bits));
    nodes[choice + secondAt] = second << bits;
    nodes[choice + passedAt] = passed;
    if (slot >= slots) throw this.damaged("it goes on in a slot that is not there");
    if (passed >= fullBlock) this.nextBlock(nodes, choice);
    return slot;
  }

  /** The block of answers after one that is passed. */
  private nextBlock(nodes: Int32Array, place: number): void {
    this.openBlock(nodes, place, nodes[place + classAt]!);
  }

  /** Reads a block of answers of a class, and keeps the class of the one after it. */
  private openBlock(nodes: Int32Array, place: number, kind: number): void {
    if (!takeBlock(this.blocks, kind, nodes, place)) throw this.damaged("it has a block of no known code");
    nodes[place + passedAt] = 0;
    nodes[place + classAt] = classAfter(nodes[place]!, nodes[place + 1]!);
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

  /** The fields of a new symbol. */
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

  /** An error that says why. */
  damaged(why: string): VmtapeError {
    const { firstBrctr } = this.header!;
    return new VmtapeError("bad-file", `${this.file}: the chunk at brctr ${firstBrctr} is damaged: ${why}`, {
      file: this.file,
      brctr: firstBrctr,
    });
  }
}
