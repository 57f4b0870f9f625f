import type { DebugSource } from "../debug/source.js";
import { keyOf } from "../tables/address.js";
import { type AddressIndex, buildAddressIndex } from "../tables/address-index.js";
import { emptyIntervals, type IntervalMap, overlay, placed } from "../tables/interval-map.js";
import type { SymbolTable } from "../tables/symbol-table.js";
import { isAbsoluteKind } from "../tables/symbol-table.js";

/** A table of symbols and where in guest memory it applies. */
export interface SymbolSource {
  /** For messages and `Located.source`: a file name, or "kernel", "module virtio_net". */
  readonly name: string;
  readonly table: SymbolTable;
  /** Put before each name: "User:". Default none. */
  readonly prefix?: string;
  /** Added to each address: KASLR slide, load bias. Default 0. Absolute symbols do not move. */
  readonly bias?: bigint;
  /** First and last address the source answers for, both inclusive, after the bias. Default all. */
  readonly range?: { readonly first: bigint; readonly last: bigint };
  /** Where two sources know an address, the larger one answers; among equals the one added first. Default 0. */
  readonly priority?: number;
  /** Lines and inlined copies of the same addresses, opened when they are first needed. */
  readonly debug?: DebugSource | undefined;
}

/** All sources as one: symbol i of source s has the id `bases[s]` + i. */
export interface MergedSources {
  readonly bases: readonly number[];
  /** What is added to the link addresses of each source. */
  readonly biases: readonly number[];
  readonly starts: Float64Array;
  readonly index: AddressIndex;
  readonly names: (string | undefined)[];
}

/** Merges the addresses of all sources, each with its bias, range and priority: about 20 ms for a kernel. */
export function mergeSources(sources: readonly SymbolSource[]): MergedSources {
  const bases: number[] = [];
  const biases: number[] = [];
  let total = 0;
  for (const { table } of sources) {
    bases.push(total);
    total += table.names.count;
  }
  const starts = new Float64Array(total);
  const maps: { readonly map: IntervalMap; readonly priority: number }[] = [];
  sources.forEach((source, s) => {
    const { table, range, priority = 0 } = source;
    const bias = Number(BigInt.asIntN(64, source.bias ?? 0n));
    biases.push(bias);
    const base = bases[s]!;
    for (let i = 0; i < table.starts.length; i++) {
      starts[base + i] = table.starts[i]! + (isAbsoluteKind(table.kinds[i]!) ? 0 : bias);
    }
    maps.push({
      map: placed(table.intervals, bias, base, range && keyOf(range.first), range && keyOf(range.last)),
      priority,
    });
  });
  maps.sort((a, b) => b.priority - a.priority);
  return {
    bases,
    biases,
    starts,
    index: buildAddressIndex(overlayAll(maps.map(({ map }) => map))),
    // Holes until somebody asks.
    names: new Array(total),
  };
}

/** Overlays neighbours first, so that each interval is copied a logarithmic number of times. */
function overlayAll(maps: readonly IntervalMap[]): IntervalMap {
  let level = [...maps];
  while (level.length > 1) {
    const next: IntervalMap[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const second = level[i + 1];
      next.push(second ? overlay(level[i]!, second) : level[i]!);
    }
    level = next;
  }
  return level[0] ?? emptyIntervals;
}
