import type { IntervalMap } from "./interval-map.js";
import type { NameList } from "./name-list.js";

/**
 * The symbols of one source at its link addresses, as columns. Index i is one symbol in each column; aliases are
 * symbols of their own, and `intervals` says which of them answers for an address.
 */
export interface SymbolTable {
  readonly names: NameList;
  /** Address keys (see `address.ts`). */
  readonly starts: Float64Array;
  /** Sizes in bytes; 0 is unknown. */
  readonly sizes: Float64Array;
  /** The letter `nm` prints for the symbol, as a character code. */
  readonly kinds: Uint8Array;
  /** Symbols by address, each with the stretch it answers for. */
  readonly intervals: IntervalMap;
}

/** A stretch of addresses whose symbols answer for nothing outside it: a section or a segment. */
export interface Region {
  readonly name: string;
  /** First address key. */
  readonly start: number;
  /** First address key after it. */
  readonly end: number;
}

/** Whether the symbol has an address that is no place in memory (`nm` letters A and a). */
export function isAbsoluteKind(kind: number): boolean {
  return kind === 0x41 || kind === 0x61;
}
