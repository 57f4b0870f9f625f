import type { AddressKey } from "../../src/symbols/tables/address.js";
import type { IntervalMap } from "../../src/symbols/tables/interval-map.js";

/** The symbol that answers for `key`, or -1. */
export function symbolAt(map: IntervalMap, key: AddressKey): number {
  const { starts } = map;
  if (starts.length === 0 || !(key >= starts[0]!)) return -1;
  let base = 0;
  for (let count = starts.length; count > 1; ) {
    const half = count >>> 1;
    if (starts[base + half]! <= key) base += half;
    count -= half;
  }
  return map.symbols[base]!;
}
