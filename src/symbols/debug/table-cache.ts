import type { DebugTables } from "../dwarf/tables.js";
import { type Column, type Columns, columnPath, readColumns, writeColumns } from "../tables/column-file.js";
import { NameList } from "../tables/name-list.js";
import type { SymbolTable } from "../tables/symbol-table.js";

/**
 * What was read from a program, kept in a cache directory: symbols, and tables of debug information. A file in it is
 * named for the build id, or for the key when there is none; the key says what it was made from.
 */
export interface CacheEntry {
  readonly directory: string;
  /** Build id or hash, in hexadecimal. */
  readonly name: string;
  /** Whatever must be the same for the entry to be of use. */
  readonly key: string;
}

const kinds = { symbols: "symbols", debug: "debug" } as const;

/**
 * Symbols with facts of the file they are from, from the cache, or read and put there.
 *
 * @param fewest fewer symbols are not kept: they are read as fast from the program itself
 */
export function cachedSymbols<Facts>(
  entry: CacheEntry | undefined,
  read: () => { readonly table: SymbolTable; readonly facts: Facts },
  fewest = smallTable,
): { readonly table: SymbolTable; readonly facts: Facts } {
  const kept = entry && readColumns(pathOf(entry, kinds.symbols), kinds.symbols, entry.key);
  const table = kept && symbolTableOf(kept);
  if (table) return { table, facts: kept.facts as Facts };
  const fresh = read();
  if (entry && fresh.table.names.count >= fewest) {
    const { names, starts, sizes, kinds: letters, intervals } = fresh.table;
    writeColumns(pathOf(entry, kinds.symbols), kinds.symbols, entry.key, fresh.facts, {
      ...nameColumns("name", names),
      starts,
      sizes,
      kinds: letters,
      intervalStarts: intervals.starts,
      intervalSymbols: intervals.symbols,
    });
  }
  return fresh;
}

const smallTable = 5000;

/** Tables of debug information, from the cache, or read and put there. */
export function cachedDebugTables(
  entry: CacheEntry | undefined,
  read: () => DebugTables | undefined,
): DebugTables | undefined {
  const kept = entry && readColumns(pathOf(entry, kinds.debug), kinds.debug, entry.key);
  const tables = kept && debugTablesOf(kept);
  if (tables) return tables;
  const fresh = read();
  if (entry && fresh && fresh.scopeParents.length >= smallTable) {
    const { names, files, intervals, notes, ...columns } = fresh;
    writeColumns(
      pathOf(entry, kinds.debug),
      kinds.debug,
      entry.key,
      { notes },
      {
        ...nameColumns("name", names),
        ...nameColumns("file", files),
        intervalStarts: intervals.starts,
        intervalSymbols: intervals.symbols,
        ...columns,
      },
    );
  }
  return fresh;
}

function pathOf({ directory, name }: CacheEntry, kind: string): string {
  return columnPath(directory, `${name.replace(/[^0-9a-z]/g, "").slice(0, 80)}-${kind}`);
}

function nameColumns(stem: string, { bytes, starts, ends }: NameList): Record<string, Column> {
  return { [`${stem}Bytes`]: bytes, [`${stem}Starts`]: starts, [`${stem}Ends`]: ends };
}

function namesOf(stem: string, { columns }: Columns): NameList {
  return new NameList(
    columns.get(`${stem}Bytes`) as Uint8Array,
    columns.get(`${stem}Starts`) as Uint32Array,
    columns.get(`${stem}Ends`) as Uint32Array,
  );
}

function symbolTableOf(kept: Columns): SymbolTable {
  const { columns } = kept;
  return {
    names: namesOf("name", kept),
    starts: columns.get("starts") as Float64Array,
    sizes: columns.get("sizes") as Float64Array,
    kinds: columns.get("kinds") as Uint8Array,
    intervals: {
      starts: columns.get("intervalStarts") as Float64Array,
      symbols: columns.get("intervalSymbols") as Int32Array,
    },
  };
}

function debugTablesOf(kept: Columns): DebugTables {
  const { columns } = kept;
  const floats = (name: string) => columns.get(name) as Float64Array;
  const words = (name: string) => columns.get(name) as Uint32Array;
  const shorts = (name: string) => columns.get(name) as Uint16Array;
  const integers = (name: string) => columns.get(name) as Int32Array;
  return {
    names: namesOf("name", kept),
    files: namesOf("file", kept),
    scopeParents: integers("scopeParents"),
    scopeNames: words("scopeNames"),
    scopeStarts: floats("scopeStarts"),
    partScopes: integers("partScopes"),
    partStarts: floats("partStarts"),
    callFiles: words("callFiles"),
    callLines: words("callLines"),
    callColumns: shorts("callColumns"),
    intervals: { starts: floats("intervalStarts"), symbols: integers("intervalSymbols") },
    lineStarts: floats("lineStarts"),
    lineFiles: words("lineFiles"),
    lineNumbers: words("lineNumbers"),
    lineColumns: shorts("lineColumns"),
    notes: (kept.facts as { notes: string[] }).notes,
  };
}
