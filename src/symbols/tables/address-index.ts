import type { AddressKey } from "./address.js";
import type { IntervalMap } from "./interval-map.js";

/**
 * A faster way into an interval map: the map is cut into clusters where nothing starts for a while (kernel, modules,
 * programs), and each cluster has, page by page, the first interval that matters. A lookup then compares some
 * three starts in place of the seventeen of a binary search over 150,000. Answers are those of such
 * a search, which the tests have (test/symbols/symbol-at.ts).
 *
 * Memory: 4 bytes for each 4 kB page between the first and the last start of a cluster; at most 1 kB a gap.
 */
export interface AddressIndex {
  readonly map: IntervalMap;
  /** First start of each cluster. */
  readonly clusters: Float64Array;
  /** Where the pages of each cluster begin in `pages`, and one more. */
  readonly pageBases: Uint32Array;
  /** For each page the last interval that starts at or before it, and for the page after each cluster the last. */
  readonly pages: Uint32Array;
}

const pageSize = 4096;
/** Starts further apart than this begin a new cluster. */
const widestGap = 1 << 20;

export function buildAddressIndex(map: IntervalMap): AddressIndex {
  const { starts } = map;
  const firsts: number[] = [];
  for (let i = 0; i < starts.length; i++) {
    if (i === 0 || starts[i]! - starts[i - 1]! > widestGap) firsts.push(i);
  }
  const clusters = Float64Array.from(firsts, (i) => starts[i]!);
  const pageBases = new Uint32Array(firsts.length + 1);
  firsts.forEach((first, c) => {
    const last = (firsts[c + 1] ?? starts.length) - 1;
    pageBases[c + 1] = pageBases[c]! + Math.floor((starts[last]! - starts[first]!) / pageSize) + 2;
  });
  const pages = new Uint32Array(pageBases[firsts.length]!);
  firsts.forEach((first, c) => {
    const last = (firsts[c + 1] ?? starts.length) - 1;
    let interval = first;
    for (let page = pageBases[c]!; page < pageBases[c + 1]!; page++) {
      const start = clusters[c]! + (page - pageBases[c]!) * pageSize;
      while (interval < last && starts[interval + 1]! <= start) interval++;
      pages[page] = interval;
    }
  });
  return { map, clusters, pageBases, pages };
}

/** The symbol that answers for an exact key, or -1. */
export function indexedSymbolAt(index: AddressIndex, key: AddressKey): number {
  const interval = intervalAt(index, key);
  return interval < 0 ? -1 : index.map.symbols[interval]!;
}

/** The last interval that starts at or before an exact key, or -1. */
export function intervalAt(index: AddressIndex, key: AddressKey): number {
  const { clusters, pageBases, pages } = index;
  const { starts } = index.map;
  if (clusters.length === 0 || !(key >= clusters[0]!)) return -1;
  let cluster = 0;
  for (let count = clusters.length; count > 1; ) {
    const half = count >>> 1;
    if (clusters[cluster + half]! <= key) cluster += half;
    count -= half;
  }
  // After a cluster its last interval still answers.
  const last = pageBases[cluster + 1]! - 1;
  const page = Math.min(pageBases[cluster]! + Math.floor((key - clusters[cluster]!) / pageSize), last);
  let low = pages[page]!;
  let high = page < last ? pages[page + 1]! : low;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (starts[middle]! <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}
