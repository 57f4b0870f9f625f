import { addressOfKey, isExactKey, keyOf, keyOfWords } from "./address.js";
import { type AddressIndex, buildAddressIndex, indexedSymbolAt } from "./address-index.js";
import { emptyIntervals, type IntervalMap, overlay, placed } from "./interval-map.js";
import { globTest, nearestNames } from "./name-search.js";
import type { SymbolTable } from "./symbol-table.js";
import { isAbsoluteKind } from "./symbol-table.js";

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
}

/** A function inlined at an address, innermost first. */
export interface InlinedAt {
  readonly name: string;
  /** Bytes from the start of the inlined copy. */
  readonly offset: number;
}

/** An address with its name. */
export interface Located {
  readonly name: string;
  /** Bytes from the symbol's start. */
  readonly offset: number;
  readonly start: bigint;
  /** Bytes as the source states them; undefined where it states none (kallsyms, labels). */
  readonly size: number | undefined;
  readonly source: string;
  readonly prefix: string;
  /** Copies of inlined functions that hold the address, for sources that know (DWARF). */
  readonly inlined?: readonly InlinedAt[];
}

/** A symbol found by its name. */
export interface Found {
  readonly name: string;
  readonly address: bigint;
  readonly size: number | undefined;
  /** The letter `nm` prints for it. */
  readonly kind: string;
  readonly source: string;
  readonly prefix: string;
}

/**
 * Names for addresses and addresses for names, over any number of sources. Sources may be added at any time
 * (modules once loaded); the next lookup merges them into one map, about 20 ms for a kernel with modules.
 *
 * Lookups by address: about 1 M/s one by one (`lookup`, `nameOf`), 10 M/s in bulk (`lookupMany`).
 */
export class Symbols {
  private readonly entries: SymbolSource[] = [];
  private merged: Merged | undefined;

  /** Adds a source; addresses it knows are named from the next lookup on. Symbol ids given out before end here. */
  add(source: SymbolSource): void {
    this.entries.push(source);
    this.merged = undefined;
  }

  /** Removes every source of this name (a module unloaded). Says whether there was one. */
  remove(name: string): boolean {
    const kept = this.entries.filter((source) => source.name !== name);
    const removed = kept.length < this.entries.length;
    this.entries.splice(0, this.entries.length, ...kept);
    if (removed) this.merged = undefined;
    return removed;
  }

  get sources(): readonly SymbolSource[] {
    return this.entries;
  }

  /** The symbol that answers for an address; undefined when none does. */
  lookup(address: bigint): Located | undefined {
    const merged = this.merge();
    const key = keyOf(address);
    const id = isExactKey(key) ? indexedSymbolAt(merged.index, key) : -1;
    return id < 0 ? undefined : this.locate(id, key);
  }

  /** The function an address lies in, without its source: what a call tree needs. */
  nameOf(
    address: bigint,
  ): { readonly name: string; readonly offset: number; readonly start: bigint } | undefined {
    const { index, starts } = this.merge();
    const key = keyOf(address);
    const id = isExactKey(key) ? indexedSymbolAt(index, key) : -1;
    if (id < 0) return undefined;
    const start = starts[id]!;
    return { name: this.nameById(id), offset: key - start, start: addressOfKey(start) };
  }

  /**
   * The ids of the symbols that answer for many addresses, -1 where none does: at least 2 M/s. Ids hold until the
   * next `add` or `remove`; `nameById` and `startById` explain them.
   *
   * @param ids as long as `addresses`, or longer
   * @param offsets when given, gets the distance from each symbol's start
   */
  lookupMany(addresses: BigUint64Array, ids: Int32Array, offsets?: Float64Array): void {
    const { index, starts } = this.merge();
    const words = new Uint32Array(addresses.buffer, addresses.byteOffset, addresses.length * 2);
    const count = addresses.length;
    for (let i = 0; i < count; i++) {
      const key = keyOfWords(words[i * 2 + 1]!, words[i * 2]!);
      const id = isExactKey(key) ? indexedSymbolAt(index, key) : -1;
      ids[i] = id;
      if (offsets) offsets[i] = id < 0 ? 0 : key - starts[id]!;
    }
  }

  /** The name, with its source's prefix, of an id from `lookupMany`; kept once made. */
  nameById(id: number): string {
    const merged = this.merge();
    const known = merged.names[id];
    if (known !== undefined) return known;
    const name = this.makeName(id);
    merged.names[id] = name;
    return name;
  }

  /** The start address of an id from `lookupMany`. */
  startById(id: number): bigint {
    return addressOfKey(this.merge().starts[id]!);
  }

  /**
   * Every symbol of exactly this name, or of this prefix and name ("User:main"): those of the sources that answer
   * first come first.
   */
  find(name: string): Found[] {
    const { bases } = this.merge();
    const found: Found[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      for (const wanted of namesIn(source, name)) {
        for (const index of source.table.names.find(wanted)) found.push(this.describe(bases[i]! + index));
      }
    }
    return distinct(found);
  }

  /** Every symbol whose name matches a pattern of `*`, `?` and `[…]`; linear, about 50 ms for 150,000 names. */
  glob(pattern: string, limit = Number.POSITIVE_INFINITY): Found[] {
    const { bases } = this.merge();
    const found: Found[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      for (const wanted of namesIn(source, pattern)) {
        const matches = globTest(wanted);
        const { names } = source.table;
        for (let index = 0; index < names.count && found.length < limit; index++) {
          if (matches(names.at(index))) found.push(this.describe(bases[i]! + index));
        }
      }
    }
    return distinct(found);
  }

  /** Names like one that was not found, most alike first; about 100 ms for 150,000 names. */
  nearestNames(name: string, limit = 5): string[] {
    return nearestNames(
      name,
      this.entries.map(({ table }) => table.names),
      limit,
    );
  }

  /** Indexes of the sources, in the order in which they answer. */
  private byPriority(): number[] {
    const priority = (i: number) => this.entries[i]!.priority ?? 0;
    return this.entries.map((_, i) => i).sort((a, b) => priority(b) - priority(a) || a - b);
  }

  private locate(id: number, key: number): Located {
    const { source, index } = this.ownerOf(id);
    const start = this.merge().starts[id]!;
    return {
      name: source.table.names.at(index),
      offset: key - start,
      start: addressOfKey(start),
      size: source.table.sizes[index] || undefined,
      source: source.name,
      prefix: source.prefix ?? "",
    };
  }

  private describe(id: number): Found {
    const { source, index } = this.ownerOf(id);
    return {
      name: source.table.names.at(index),
      address: addressOfKey(this.merge().starts[id]!),
      size: source.table.sizes[index] || undefined,
      kind: String.fromCharCode(source.table.kinds[index]!),
      source: source.name,
      prefix: source.prefix ?? "",
    };
  }

  private makeName(id: number): string {
    const { source, index } = this.ownerOf(id);
    return (source.prefix ?? "") + source.table.names.at(index);
  }

  private ownerOf(id: number): { readonly source: SymbolSource; readonly index: number } {
    const { bases } = this.merge();
    let i = bases.length - 1;
    while (i > 0 && bases[i]! > id) i--;
    return { source: this.entries[i]!, index: id - bases[i]! };
  }

  private merge(): Merged {
    this.merged ??= mergeSources(this.entries);
    return this.merged;
  }
}

/** All sources as one: symbol i of source s has the id bases[s] + i. */
interface Merged {
  readonly bases: readonly number[];
  readonly starts: Float64Array;
  readonly index: AddressIndex;
  readonly names: (string | undefined)[];
}

function mergeSources(sources: readonly SymbolSource[]): Merged {
  const bases: number[] = [];
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

/** The name as this source would have it: without its prefix, when it has one. */
function namesIn({ prefix }: SymbolSource, name: string): string[] {
  return prefix && name.startsWith(prefix) ? [name, name.slice(prefix.length)] : [name];
}

/** Without the second of two symbols of one name, address and source (a .symtab and a .dynsym entry). */
function distinct(found: readonly Found[]): Found[] {
  const seen = new Set<string>();
  return found.filter(({ source, name, address }) => {
    const key = `${source}\0${name}\0${address}`;
    return !seen.has(key) && seen.add(key);
  });
}
