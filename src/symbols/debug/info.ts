import { demangle } from "../demangle/demangle.js";
import { MangledNames } from "../demangle/mangled-names.js";
import { columnMask, statementBit } from "../dwarf/columns.js";
import type { DebugTables } from "../dwarf/tables.js";
import type { AddressKey } from "../tables/address.js";
import {
  type AddressIndex,
  buildAddressIndex,
  indexedSymbolAt,
  intervalAt,
} from "../tables/address-index.js";
import { fileTest } from "./line-search.js";

/** A place in a program's source. */
export interface SourcePlace {
  /** As the compiler names it, with its directory. */
  readonly file: string;
  /** From 1; 0 for code that belongs to no line. */
  readonly line: number;
  /** From 1; 0 where it is not known. */
  readonly column: number;
}

/** What stands for a name that is not there. */
export const unknownName = "??";

/** A function inlined at an address. */
export interface InlinedAt {
  /** `unknownName` where the debug information does not tell it. */
  readonly name: string;
  /** Bytes from the start of the inlined copy: its lowest address in this part of the function around it. */
  readonly offset: number;
  /** Where the function around it calls it. */
  readonly call?: SourcePlace;
}

/** A link address where a line starts. */
export interface FoundRow {
  readonly key: AddressKey;
  readonly place: SourcePlace;
}

/** A function or an inlined copy at its link address. */
export interface FoundScope {
  readonly name: string;
  readonly key: AddressKey;
  /** The function that an inlined copy is part of. */
  readonly inlinedInto?: string;
}

/**
 * What debug information says of addresses and lines of one file, at link addresses. A lookup costs about a
 * microsecond, with its chain of inlined copies and its line.
 */
export class DebugInfo {
  private readonly scopes: AddressIndex;
  private readonly lines: AddressIndex;
  /** The first of its parts in the tables, for a scope that has some. */
  private readonly parts = new Map<number, number>();
  private readonly names: (string | undefined)[] = [];
  private readonly files: (string | undefined)[] = [];
  private mangled: MangledNames | undefined;
  private copies: { readonly heads: Int32Array; readonly next: Int32Array } | undefined;

  constructor(private readonly tables: DebugTables) {
    this.scopes = buildAddressIndex(tables.intervals);
    tables.partScopes.forEach((scope, i) => {
      if (!this.parts.has(scope)) this.parts.set(scope, i);
    });
    this.lines = buildAddressIndex({ starts: tables.lineStarts, symbols: noSymbols });
  }

  /** What could not be used of the file, in words for people. */
  get notes(): readonly string[] {
    return this.tables.notes;
  }

  /** The innermost function or inlined copy at a key, or -1: an index for the calls below. */
  scopeAt(key: AddressKey): number {
    return indexedSymbolAt(this.scopes, key);
  }

  /** The inlined copies around a scope, innermost first; undefined when it is a function itself. */
  inlinedAt(scope: number, key: AddressKey): InlinedAt[] | undefined {
    const { scopeParents, scopeNames, scopeStarts, callFiles, callLines, callColumns } = this.tables;
    let inlined: InlinedAt[] | undefined;
    for (let at = scope; ; ) {
      const parent = scopeParents[at]!;
      if (parent < 0) return inlined;
      const name = this.nameAt(scopeNames[at]!) ?? unknownName;
      const offset = key - (this.parts.has(at) ? this.partStart(at, key) : scopeStarts[at]!);
      const file = callFiles[at]!;
      inlined ??= [];
      if (file > 0) {
        const call = { file: this.fileAt(file), line: callLines[at]!, column: callColumns[at]! };
        inlined.push({ name, offset, call });
      } else {
        inlined.push({ name, offset });
      }
      at = parent;
    }
  }

  /** The function around a scope. */
  functionOf(scope: number): number {
    const { scopeParents } = this.tables;
    let at = scope;
    while (scopeParents[at]! >= 0) at = scopeParents[at]!;
    return at;
  }

  /** The name of a scope's function; demangled. Undefined where it stands in a file that is not there. */
  nameOf(scope: number): string | undefined {
    return this.nameAt(this.tables.scopeNames[scope]!);
  }

  /** The name of a scope's function as it stands in the file. */
  rawNameOf(scope: number): string {
    return this.tables.names.at(this.tables.scopeNames[scope]!);
  }

  /** Where a scope starts. */
  startOf(scope: number): AddressKey {
    return this.tables.scopeStarts[scope]!;
  }

  /** The source line of the innermost code at a key. */
  placeAt(key: AddressKey): SourcePlace | undefined {
    const row = intervalAt(this.lines, key);
    if (row < 0) return undefined;
    const { lineFiles, lineNumbers, lineColumns } = this.tables;
    const file = lineFiles[row]!;
    if (file === 0) return undefined;
    return { file: this.fileAt(file), line: lineNumbers[row]!, column: lineColumns[row]! & columnMask };
  }

  /**
   * Every inlined copy of the functions of a name, ascending: a plain or linkage name, or a demangled one with its
   * parameters or without. The first call takes some 10 ms, with C++ or Rust names up to a second.
   */
  copiesNamed(name: string): FoundScope[] {
    const { names, scopeParents, scopeStarts } = this.tables;
    this.copies ??= this.listCopies();
    this.mangled ??= new MangledNames(names);
    const { heads, next } = this.copies;
    const found: FoundScope[] = [];
    for (const id of new Set([...names.find(name), ...this.mangled.find(name)])) {
      for (let link = heads[id]!; link !== 0; link = next[link - 1]!) {
        const scope = link - 1;
        const inlinedInto = this.nameOf(this.functionOf(scopeParents[scope]!));
        const place = { name: this.nameAt(id) ?? unknownName, key: scopeStarts[scope]! };
        found.push(inlinedInto === undefined ? place : { ...place, inlinedInto });
      }
    }
    return found.sort((one, other) => one.key - other.key);
  }

  /**
   * The lowest address of each function and inlined copy where a line starts, ascending. When a line has no code, the
   * next one of the file that has.
   *
   * @param path a file's name, or the end of its path from a directory on: "core.c", "sched/core.c"
   */
  addressesOf(path: string, line: number): FoundRow[] {
    const isFile = fileTest(path);
    const { files, lineStarts, lineFiles, lineNumbers, lineColumns } = this.tables;
    const wanted = new Uint8Array(files.count);
    for (let id = 1; id < files.count; id++) if (isFile(files.at(id))) wanted[id] = 1;
    let best = Number.POSITIVE_INFINITY;
    let rows: number[] = [];
    for (let row = 0; row < lineStarts.length; row++) {
      if (wanted[lineFiles[row]!] === 0) continue;
      const number = lineNumbers[row]!;
      if (number < line || number > best || !(lineColumns[row]! & statementBit)) continue;
      if (number < best) {
        best = number;
        rows = [];
      }
      rows.push(row);
    }
    const found: FoundRow[] = [];
    const seen = new Set<number>();
    for (const row of rows) {
      const key = lineStarts[row]!;
      const scope = this.scopeAt(key);
      if (scope >= 0 && seen.has(scope)) continue;
      seen.add(scope);
      if (found.at(-1)?.key === key) continue;
      const place = {
        file: this.fileAt(lineFiles[row]!),
        line: lineNumbers[row]!,
        column: lineColumns[row]! & columnMask,
      };
      found.push({ key, place });
    }
    return found;
  }

  /** Where a scope starts in the part of its function that holds a key. */
  private partStart(scope: number, key: AddressKey): AddressKey {
    const { scopeStarts, partScopes, partStarts } = this.tables;
    let start = scopeStarts[scope]!;
    for (let i = this.parts.get(scope)!; partScopes[i] === scope; i++) {
      if (partStarts[i]! <= key) start = Math.max(start, partStarts[i]!);
    }
    return start;
  }

  private nameAt(id: number): string | undefined {
    const known = this.names[id];
    if (known !== undefined) return known;
    if (id === 0) return undefined;
    const name = demangle(this.tables.names.at(id), { hasResult: false });
    this.names[id] = name;
    return name;
  }

  private fileAt(id: number): string {
    const known = this.files[id];
    if (known !== undefined) return known;
    const file = this.tables.files.at(id);
    this.files[id] = file;
    return file;
  }

  private listCopies(): { readonly heads: Int32Array; readonly next: Int32Array } {
    const { names, scopeNames, scopeParents } = this.tables;
    const heads = new Int32Array(names.count);
    const next = new Int32Array(scopeNames.length);
    for (let scope = scopeNames.length - 1; scope >= 0; scope--) {
      if (scopeParents[scope]! < 0) continue;
      next[scope] = heads[scopeNames[scope]!]!;
      heads[scopeNames[scope]!] = scope + 1;
    }
    return { heads, next };
  }
}

const noSymbols = new Int32Array(0);
