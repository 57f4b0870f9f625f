import type { AddressKey } from "./address.js";

/**
 * Which symbol answers for each address: interval i is [starts[i], starts[i + 1]) and belongs to `symbols[i]`, or
 * to nobody when that is -1. Below the first and from the last start on nobody answers.
 */
export interface IntervalMap {
  readonly starts: Float64Array;
  readonly symbols: Int32Array;
}

export const emptyIntervals: IntervalMap = { starts: new Float64Array(0), symbols: new Int32Array(0) };

/** Collects intervals in ascending order; neighbours of one symbol become one. */
export class IntervalBuilder {
  private starts: Float64Array;
  private symbols: Int32Array;
  private count = 0;

  constructor(capacity = 1024) {
    this.starts = new Float64Array(capacity);
    this.symbols = new Int32Array(capacity);
  }

  /** From `start` on, `symbol` answers (-1: nobody), until the next call. `start` must not descend. */
  from(start: AddressKey, symbol: number): void {
    // A second answer for one start replaces the first.
    if (this.count > 0 && this.starts[this.count - 1] === start) this.count--;
    if ((this.count > 0 ? this.symbols[this.count - 1] : -1) === symbol) return;
    if (this.count === this.starts.length) this.grow();
    this.starts[this.count] = start;
    this.symbols[this.count++] = symbol;
  }

  build(): IntervalMap {
    return { starts: this.starts.slice(0, this.count), symbols: this.symbols.slice(0, this.count) };
  }

  private grow(): void {
    const starts = new Float64Array(this.starts.length * 2);
    const symbols = new Int32Array(this.starts.length * 2);
    starts.set(this.starts);
    symbols.set(this.symbols);
    this.starts = starts;
    this.symbols = symbols;
  }
}

/** Both maps in one; where both have an answer, `first` wins. Linear. */
export function overlay(first: IntervalMap, second: IntervalMap): IntervalMap {
  if (second.starts.length === 0) return first;
  if (first.starts.length === 0) return second;
  const merged = new IntervalBuilder(first.starts.length + second.starts.length);
  let i = 0;
  let j = 0;
  let firstSymbol = -1;
  let secondSymbol = -1;
  while (i < first.starts.length || j < second.starts.length) {
    const a = i < first.starts.length ? first.starts[i]! : Number.POSITIVE_INFINITY;
    const b = j < second.starts.length ? second.starts[j]! : Number.POSITIVE_INFINITY;
    const start = Math.min(a, b);
    if (a === start) firstSymbol = first.symbols[i++]!;
    if (b === start) secondSymbol = second.symbols[j++]!;
    merged.from(start, firstSymbol >= 0 ? firstSymbol : secondSymbol);
  }
  return merged.build();
}

/** The map moved by `bias`, its symbols renumbered from `base`, cut to [low, high]. */
export function placed(
  map: IntervalMap,
  bias: number,
  base: number,
  low = Number.NEGATIVE_INFINITY,
  high = Number.POSITIVE_INFINITY,
): IntervalMap {
  const result = new IntervalBuilder(map.starts.length + 2);
  const { starts, symbols } = map;
  for (let i = 0; i < starts.length; i++) {
    const start = Math.max(starts[i]! + bias, low);
    const end = i + 1 < starts.length ? starts[i + 1]! + bias : Number.POSITIVE_INFINITY;
    if (end <= low) continue;
    if (start > high) break;
    const symbol = symbols[i]!;
    result.from(start, symbol < 0 ? -1 : symbol + base);
  }
  if (high < Number.POSITIVE_INFINITY) result.from(high + 1, -1);
  return result.build();
}
