import { IntervalBuilder, type IntervalMap } from "../tables/interval-map.js";
import type { NameList } from "../tables/name-list.js";

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
  const { regionOf, regionEnds } = input;
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
}

/** The symbols that have a region, by start and then by name. */
function sortedOrder({ names, starts, regionOf }: ChoiceInput): Int32Array {
  let count = 0;
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  const order = new Int32Array(regionOf.length);
  for (let i = 0; i < regionOf.length; i++) {
    if (regionOf[i]! < 0) continue;
    order[count++] = i;
    lowest = Math.min(lowest, starts[i]!);
    highest = Math.max(highest, starts[i]!);
  }
  const sorted = order.subarray(0, count);
  const byName = (a: number, b: number) => names.compare(a, b) || a - b;
  if (!((highest - lowest + 1) * count <= Number.MAX_SAFE_INTEGER)) {
    return sorted.sort((a, b) => starts[a]! - starts[b]! || byName(a, b));
  }
  // A program's addresses leave room for the place in the list below them in one double, and sorting plain numbers is
  // ten times as fast as asking a function; only runs of one address are then left to sort by name.
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = (starts[sorted[i]!]! - lowest) * count + i;
  keys.sort();
  const unsorted = sorted.slice();
  for (let i = 0; i < count; i++) sorted[i] = unsorted[keys[i]! % count]!;
  for (let from = 0; from < count; ) {
    let to = from + 1;
    while (to < count && starts[sorted[to]!] === starts[sorted[from]!]) to++;
    if (to > from + 1) sorted.subarray(from, to).sort(byName);
    from = to;
  }
  return sorted;
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
