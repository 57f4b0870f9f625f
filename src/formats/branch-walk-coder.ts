import { branchKindCodes } from "./branch.js";
import { BranchBitWriter, bitLength } from "./branch-bit-writer.js";
import { classAfter, putBlock } from "./branch-block-code.js";
import * as model from "./branch-chunk-model.js";
import { addressBits, type BranchSymbols, blockLayout, nodeBits, nodeLayout } from "./branch-symbols.js";

const { fullBlock, leastBits, longLengthBits, repeat, repeatChoice, repeatPlace, toLengthBits, toLong } =
  model;
const { first, second, passed, kind: numberOfBlock } = blockLayout;

/** Codes of the kinds that have short ones, with their bits; others are 7 and then the kind in four bits. */
const kindCodes: readonly { readonly kind: number; readonly code: number; readonly bits: number }[] = [
  { kind: branchKindCodes.conditional, code: 0, bits: 2 },
  { kind: branchKindCodes.call, code: 1, bits: 2 },
  { kind: branchKindCodes.return, code: 2, bits: 2 },
  { kind: branchKindCodes.jump, code: 3, bits: 3 },
];

/**
 * Codes the walk of a chunk: from symbol numbers to the two parts of its payload. This defines the canonical bytes;
 * the plugin's has to give the same.
 */
export class BranchWalkCoder {
  readonly events = new BranchBitWriter();
  readonly blocks = new BranchBitWriter();
  /** Answers of each block, two words, and its class. */
  private answers = new Int32Array(1 << 10);
  private classes = new Uint8Array(1 << 9);
  private blockCount = 0;
  private readonly repeats = new Int32Array(1 << repeat.tableBits);
  /** Symbols that were defined. */
  private defined = 0;
  /** The first record that no event or answer has told yet. */
  private coded = 0;

  /** Codes a walk of `records` symbols, numbered by first appearance; then `events` and `blocks` hold the payload. */
  code(walk: Int32Array, records: number, symbols: BranchSymbols): void {
    this.events.reset();
    this.blocks.reset();
    this.repeats.fill(0);
    this.blockCount = 0;
    this.defined = 0;
    this.coded = 0;
    let patience: number = repeat.patience;
    let next: number = repeat.context;
    let at = 0;
    for (;;) {
      const stop = next < records ? repeatChoice(walk, next, records) : records;
      for (; at < stop; at++) this.step(walk, at, symbols);
      if (at === records) break;
      const place = repeatPlace(walk, at);
      const before = this.repeats[place]!;
      this.repeats[place] = at;
      const length = before > 0 ? commonLength(walk, before, at, records) : 0;
      if (length >= repeat.least) {
        this.putRepeat(at, at - before, length);
        at += length;
        patience = repeat.patience;
      } else {
        patience = Math.min(2 * patience, repeat.mostPatience);
      }
      next = at + patience;
    }
    if (this.coded < records) this.events.putNumber(leastBits.event, records - this.coded);
    for (let symbol = 0; symbol < this.defined; symbol++) {
      const used = symbols.nodes[(symbol << nodeBits) + nodeLayout.used]!;
      if (used > 1) this.closeBlock(symbols, (symbol << nodeBits) + nodeLayout.turn);
      if (used > 2) this.closeBlock(symbols, (symbol << nodeBits) + nodeLayout.choice);
    }
    for (let block = 0; block < this.blockCount; block++) {
      putBlock(this.blocks, this.classes[block]!, this.answers[2 * block]!, this.answers[2 * block + 1]!);
    }
  }

  private step(walk: Int32Array, at: number, symbols: BranchSymbols): void {
    const symbol = walk[at]!;
    if (at > 0) {
      const { nodes } = symbols;
      const node = walk[at - 1]! << nodeBits;
      const used = nodes[node + nodeLayout.used]!;
      let slot = 0;
      while (slot < used && nodes[node + slot] !== symbol) slot++;
      if (slot < used) {
        if (used > 1) this.answer(symbols, node + nodeLayout.turn, slot > 0 ? 1 : 0, 1);
        if (used > 2 && slot > 0) this.answer(symbols, node + nodeLayout.choice, slot - 1, used - 2);
        return;
      }
    }
    this.putNewFollower(walk, at, symbols);
  }

  private answer({ nodes }: BranchSymbols, block: number, value: number, bits: number): void {
    const before = nodes[block + second]!;
    nodes[block + first] = (nodes[block + first]! << bits) | (before >>> (32 - bits));
    nodes[block + second] = (before << bits) | value;
    const count = nodes[block + passed]! + bits;
    nodes[block + passed] = count;
    if (count < fullBlock) return;
    const number = this.store(nodes, block);
    this.openBlock(nodes, block, classAfter(this.answers[2 * number]!, this.answers[2 * number + 1]!));
  }

  private openBlock(nodes: Int32Array, block: number, kind: number): void {
    if (this.blockCount === this.classes.length) this.grow();
    nodes.fill(0, block, block + numberOfBlock);
    nodes[block + numberOfBlock] = this.blockCount;
    this.classes[this.blockCount++] = kind;
  }

  private closeBlock({ nodes }: BranchSymbols, block: number): void {
    this.store(nodes, block);
  }

  /** Puts an open block's answers into its place, the first one highest; its number. */
  private store(nodes: Int32Array, block: number): number {
    const high = nodes[block + first]!;
    const low = nodes[block + second]!;
    const count = nodes[block + passed]!;
    const number = nodes[block + numberOfBlock]!;
    const up = count === 0 ? 0 : 64 - count;
    this.answers[2 * number] = up >= 32 ? low << (up - 32) : (high << up) | (up > 0 ? low >>> (32 - up) : 0);
    this.answers[2 * number + 1] = up >= 32 ? 0 : low << up;
    return number;
  }

  private grow(): void {
    const answers = new Int32Array(2 * this.answers.length);
    answers.set(this.answers);
    this.answers = answers;
    const classes = new Uint8Array(2 * this.classes.length);
    classes.set(this.classes);
    this.classes = classes;
  }

  /** An event: a symbol that no slot of the one before holds, known or new. */
  private putNewFollower(walk: Int32Array, at: number, symbols: BranchSymbols): void {
    const { events } = this;
    const symbol = walk[at]!;
    events.putNumber(leastBits.event, at - this.coded);
    this.coded = at + 1;
    if (symbol < this.defined) {
      events.put(0, 1);
      events.put(symbol, bitLength(this.defined - 1, 0));
    } else {
      events.put(1, 2);
      this.define(symbol, at === 0 ? -1 : walk[at - 1]!, symbols);
      this.defined++;
    }
    if (at === 0) return;
    const block = symbols.follow(walk[at - 1]!, symbol);
    if (block > 0) this.openBlock(symbols.nodes, block, 0);
  }

  private putRepeat(at: number, distance: number, length: number): void {
    const { events } = this;
    events.putNumber(leastBits.event, at - this.coded);
    events.put(3, 2);
    events.putNumber(leastBits.distance, distance - 1);
    events.putNumber(leastBits.length, length - repeat.least);
    this.coded = at + length;
  }

  /** A new symbol's fields: kind, from relative to the last to, to relative to from, step, gap. */
  private define(symbol: number, last: number, symbols: BranchSymbols): void {
    const { events } = this;
    const { addresses, kind, icountStep, brctrGap } = symbols;
    const short = kindCodes.find((entry) => entry.kind === kind[symbol]);
    if (short) events.put(short.code, short.bits);
    else events.put(7 | (kind[symbol]! << 3), 7);
    const words = symbol << addressBits;
    const before = (last << addressBits) + 2;
    const fromLow = addresses[words]!;
    const fromHigh = addresses[words + 1]!;
    const baseLow = last < 0 ? 0 : addresses[before]!;
    const baseHigh = last < 0 ? 0 : addresses[before + 1]!;
    events.putNumber(
      leastBits.from,
      (fromLow - baseLow) >>> 0,
      (fromHigh - baseHigh - (fromLow < baseLow ? 1 : 0)) >>> 0,
    );
    this.putDistance(addresses[words + 2]!, addresses[words + 3]!, fromLow, fromHigh);
    this.putCount(leastBits.step, icountStep[symbol]!);
    this.putCount(leastBits.gap, brctrGap[symbol]!);
  }

  private putCount(least: number, count: number): void {
    this.events.putNumber(least, count >>> 0, Math.floor(count / 2 ** 32));
  }

  /** `value - base` modulo 2^64 as a signed number, folded: 0, -1, 1, -2 … become 0, 1, 2, 3 … */
  private putDistance(low: number, high: number, baseLow: number, baseHigh: number): void {
    const { events } = this;
    const distanceLow = (low - baseLow) >>> 0;
    const distanceHigh = (high - baseHigh - (low < baseLow ? 1 : 0)) >>> 0;
    const sign = distanceHigh & 0x8000_0000 ? -1 : 0;
    const foldedLow = ((distanceLow << 1) ^ sign) >>> 0;
    const foldedHigh = ((distanceHigh << 1) ^ (distanceLow >>> 31) ^ sign) >>> 0;
    const length = bitLength(foldedLow, foldedHigh);
    events.put(Math.min(length, toLong), toLengthBits);
    if (length >= toLong) events.put(length, longLengthBits);
    events.putBelow(length, foldedLow, foldedHigh);
  }
}

/** How many symbols from `at` on are as those from `before` on? */
function commonLength(walk: Int32Array, before: number, at: number, end: number): number {
  let length = 0;
  while (at + length < end && walk[before + length] === walk[at + length]) length++;
  return length;
}
