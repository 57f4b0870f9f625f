import { IntervalBuilder, type IntervalMap } from "./interval-map.js";
import type { NameList } from "./name-list.js";

/** The columns the choice is made from. */
export interface ChoiceInput {
  readonly names: NameList;
  readonly starts: Float64Array;
  /** As the file states them; what runs past the region is cut here. */
  readonly sizes: Float64Array;
  /** 1 for each global or weak symbol of an executable section. */
  readonly globalCode: Uint8Array;
  /** For each symbol, the index of its region, or -1 when it answers for no address. */
  readonly regionOf: Int32Array;
  /** First address key after each region. */
  readonly regionEnds: Float64Array;
}

/**
 * Works out which symbol answers for which address, as GDB does in `lookup_minimal_symbol_by_pc_section`
 * (gdb/minsyms.c, GDB 13):
 *
 * 1. Of the symbols of the address's section that start at or before it, the one with the highest address; of
 *    several with that address, the last in strcmp order, except that a global function just before it in that
 *    order, of the same address and size, is preferred to a local one.
 * 2. One without a size is passed over for a sized one before it that covers the address: a label inside a
 *    function does not hide the function.
 * 3. A sized one that ends before the address gives way to the one just before it, when that covers it.
 * 4. When the sized symbol found does not cover the address, the symbol without a size that was passed over
 *    answers, up to the next symbol or the end of the section; when there was none, nobody does.
 *
 * Cost: one sort; the answer is a map of disjoint intervals.
 */
export function chooseLikeGdb(input: ChoiceInput): IntervalMap {
  const { names, starts, regionOf, regionEnds } = input;
  const order = sortedOrder(input);
  const maps = new IntervalBuilder(order.length * 2 + 2);
  // Regions are disjoint and visited in ascending order, so the intervals come out sorted.
  for (let from = 0; from < order.length; ) {
    const region = regionOf[order[from]!]!;
    let to = from + 1;
    while (to < order.length && regionOf[order[to]!] === region) to++;
    chooseInRegion(order.subarray(from, to), input, regionEnds[region]!, maps);
    from = to;
  }
  return maps.build();

  function sortedOrder({ regionOf: regions }: ChoiceInput): Int32Array {
    let count = 0;
    const kept = new Int32Array(regions.length);
    for (let i = 0; i < regions.length; i++) if (regions[i]! >= 0) kept[count++] = i;
    return kept.subarray(0, count).sort((a, b) => starts[a]! - starts[b]! || names.compare(a, b) || a - b);
  }
}

function chooseInRegion(
  order: Int32Array,
  { starts, sizes, globalCode }: ChoiceInput,
  regionEnd: number,
  result: IntervalBuilder,
): void {
  const count = order.length;
  const start = (i: number) => starts[order[i]!]!;
  const size = (i: number) => sizes[order[i]!]!;
  const end = (i: number) => Math.min(start(i) + size(i), regionEnd);
  /** The one GDB looks at when it comes to `i`: itself, or the global function beside it. */
  const preferred = (i: number) =>
    i > 0 &&
    globalCode[order[i]!] === 0 &&
    globalCode[order[i - 1]!] === 1 &&
    start(i) === start(i - 1) &&
    size(i) === size(i - 1)
      ? i - 1
      : i;
  /** The last sized symbol at or before each. */
  const sized = new Int32Array(count);
  for (let i = 0; i < count; i++) sized[i] = size(i) > 0 ? i : i > 0 ? sized[i - 1]! : -1;

  for (let i = 0; i < count; ) {
    let last = i;
    while (last + 1 < count && start(last + 1) === start(i)) last++;
    const stop = last + 1 < count ? start(last + 1) : regionEnd;
    // Between two symbol starts the answer changes only where one of these two symbols ends.
    const label = size(last) > 0 ? -1 : preferred(last);
    const first = sized[last]! < 0 ? -1 : preferred(sized[last]!);
    const second = first > 0 ? preferred(first - 1) : -1;
    let at = start(i);
    while (at < stop) {
      let chosen = label;
      let next = stop;
      if (first >= 0 && at < end(first)) {
        chosen = first;
        next = Math.min(stop, end(first));
      } else if (second >= 0 && at < end(second)) {
        chosen = second;
        next = Math.min(stop, end(second));
      }
      result.from(at, chosen < 0 ? -1 : order[chosen]!);
      at = next;
    }
    i = last + 1;
  }
  result.from(regionEnd, -1);
}
