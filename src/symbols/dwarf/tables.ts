import { IntervalBuilder, type IntervalMap } from "../tables/interval-map.js";
import type { NameList } from "../tables/name-list.js";
import type { CodeMap } from "./code.js";
import { LineColumns, RangeColumns, ScopeColumns } from "./columns.js";
import { EntryReader } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { unitType } from "./layout.js";
import { LineReader } from "./line-program.js";
import { EntryNames } from "./names.js";
import { ScopeWalk } from "./scopes.js";
import { TextCollector } from "./texts.js";
import type { Unit } from "./unit.js";
import { readRoot, readUnits } from "./unit-list.js";

/**
 * What debug information says of a program's code, as columns at link addresses. A scope is a function or an inlined
 * copy of one. Files and names are ids into their lists; 0 is the empty text.
 */
export interface DebugTables {
  readonly names: NameList;
  readonly files: NameList;
  /** The scope around an inlined copy; -1 for a function. */
  readonly scopeParents: Int32Array;
  readonly scopeNames: Uint32Array;
  /** Address key of a function's entry, or the lowest one of an inlined copy. */
  readonly scopeStarts: Float64Array;
  /** Copies with code in further parts of their function, ascending, and where they start there. */
  readonly partScopes: Int32Array;
  readonly partStarts: Float64Array;
  /** Where the scope around an inlined copy calls it. */
  readonly callFiles: Uint32Array;
  readonly callLines: Uint32Array;
  readonly callColumns: Uint16Array;
  /** The innermost scope of each address. */
  readonly intervals: IntervalMap;
  /** Line rows, ascending: a row holds up to the start of the next; of several at one start the last answers. */
  readonly lineStarts: Float64Array;
  /** 0 where nothing is known. */
  readonly lineFiles: Uint32Array;
  readonly lineNumbers: Uint32Array;
  /** Column in the low 15 bits; the highest bit for rows that a breakpoint may stand at (is_stmt). */
  readonly lineColumns: Uint16Array;
  /** What could not be used, in words for people. */
  readonly notes: readonly string[];
}

/**
 * Reads all units of a file, in one pass over its debug sections. What is damaged gives fewer names and lines, and a
 * note.
 *
 * Cost: for Debian's 6.1 kernel (174 MB of entries, 4.3 M line rows) about 3 s and 350 MB of memory.
 *
 * @param code the addresses that hold code; functions elsewhere were left out by the linker
 */
export function readDebugTables(file: DwarfFile, code: CodeMap): DebugTables {
  const names = new TextCollector(
    file.info.size + file.section(".debug_str").length + (file.alt?.section(".debug_str").length ?? 0),
  );
  const paths = new TextCollector();
  const scopes = new ScopeColumns();
  const ranges = new RangeColumns();
  const lines = new LineColumns();
  const units = readUnits(file);
  const reader = new EntryReader(
    () => file.section(".debug_str_offsets"),
    () => file.section(".debug_addr"),
  );
  const lineReader = new LineReader(file, paths, code, lines);
  const walk = new ScopeWalk(
    file,
    code,
    new EntryNames(file, units, names, readAllRoots),
    names,
    scopes,
    ranges,
  );
  const split: string[] = [];
  for (const unit of units) {
    const table = readRoot(file, unit, reader);
    if (!table) {
      if (file.isExhausted) break;
      file.noteDamage(".debug_info", unit.start);
      continue;
    }
    const files = lineReader.collect(unit);
    if (unit.dwoName !== undefined) split.push(unit.dwoName || unit.name);
    // Units of types hold declarations at most.
    if (unit.type !== unitType.type && unit.type !== unitType.splitType) walk.walk(unit, table, files);
  }
  if (split.length > 0) {
    file.note(
      `${file.name} keeps functions and inlined copies of ${split.length} units in split files (${split[0]}` +
        `${split.length > 1 ? " …" : ""}), which are not read: lines only`,
    );
  }
  file.release(".debug_line");
  return {
    names: names.build(),
    files: paths.build(),
    scopeParents: scopes.parents.slice(0, scopes.count),
    scopeNames: scopes.names.slice(0, scopes.count),
    scopeStarts: scopes.entries.slice(0, scopes.count),
    partScopes: scopes.partScopes.slice(0, scopes.partCount),
    partStarts: scopes.partStarts.slice(0, scopes.partCount),
    callFiles: scopes.callFiles.slice(0, scopes.count),
    callLines: scopes.callLines.slice(0, scopes.count),
    callColumns: scopes.callColumns.slice(0, scopes.count),
    intervals: innermostScopes(ranges, scopes),
    ...sortLines(lines),
    notes: file.notes,
  };
}

/** The units of a shared file, with the bases that indexes need. */
function readAllRoots(file: DwarfFile): Unit[] {
  const units = readUnits(file);
  const reader = new EntryReader(
    () => file.section(".debug_str_offsets"),
    () => file.section(".debug_addr"),
  );
  for (const unit of units) readRoot(file, unit, reader);
  return units;
}

/**
 * The innermost scope of each address. Ranges that lie inside another scope's count only for copies inlined into that
 * scope: of two functions with the same code the first answers.
 */
export function innermostScopes(ranges: RangeColumns, scopes: ScopeColumns): IntervalMap {
  const { starts, ends, scopes: owners } = ranges;
  const order = sortedByStart(starts, ranges.count);
  const builder = new IntervalBuilder(ranges.count * 2 + 2);
  const stack: number[] = [];
  const stackEnds: number[] = [];
  /** How many ranges of each scope are on the stack: looking through it would take long in a deep one. */
  const open = new Int32Array(scopes.count);
  const leave = (upTo: number) => {
    while (stack.length > 0 && stackEnds[stack.length - 1]! <= upTo) {
      const end = stackEnds.pop()!;
      open[stack.pop()!]!--;
      builder.from(end, stack.length > 0 ? stack[stack.length - 1]! : -1);
    }
  };
  for (const range of order) {
    const start = starts[range]!;
    const scope = owners[range]!;
    leave(start);
    let end = ends[range]!;
    if (stack.length > 0) {
      const parent = scopes.parents[scope]!;
      if (parent < 0 || open[parent] === 0) continue;
      end = Math.min(end, stackEnds[stack.length - 1]!);
    }
    stack.push(scope);
    open[scope]!++;
    stackEnds.push(end);
    builder.from(start, scope);
  }
  leave(Number.POSITIVE_INFINITY);
  return builder.build();
}

/** Indexes by start, and by themselves among equals. */
export function sortedByStart(starts: Float64Array, count: number): Uint32Array {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    lowest = Math.min(lowest, starts[i]!);
    highest = Math.max(highest, starts[i]!);
  }
  const order = new Uint32Array(count);
  // Sorting plain numbers is ten times as fast as asking a function: the index fits below the address.
  if ((highest - lowest + 1) * count <= Number.MAX_SAFE_INTEGER) {
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i++) keys[i] = (starts[i]! - lowest) * count + i;
    keys.sort();
    for (let i = 0; i < count; i++) order[i] = keys[i]! % count;
    return order;
  }
  for (let i = 0; i < count; i++) order[i] = i;
  return order.sort((a, b) => starts[a]! - starts[b]! || a - b);
}

type LineTables = Pick<DebugTables, "lineStarts" | "lineFiles" | "lineNumbers" | "lineColumns">;

/** The sequences in ascending order; where two overlap, the first answers. */
function sortLines(lines: LineColumns): LineTables {
  const { sequenceCount, sequenceRows, starts, files, lines: numbers, columns } = lines;
  const firsts = new Float64Array(sequenceCount);
  for (let i = 0; i < sequenceCount; i++) firsts[i] = starts[sequenceRows[i]!]!;
  const order = sortedByStart(firsts, sequenceCount);
  const lineStarts = new Float64Array(lines.count);
  const lineFiles = new Uint32Array(lines.count);
  const lineNumbers = new Uint32Array(lines.count);
  const lineColumns = new Uint16Array(lines.count);
  let count = 0;
  let end = Number.NEGATIVE_INFINITY;
  for (const sequence of order) {
    const first = sequenceRows[sequence]!;
    const last = (sequence + 1 < sequenceCount ? sequenceRows[sequence + 1]! : lines.count) - 1;
    if (starts[last]! <= end) continue;
    let row = first;
    while (starts[row + 1]! <= end) row++;
    // Nothing is known between two sequences, and nothing has to say so when they touch.
    if (count > 0 && lineStarts[count - 1]! >= starts[row]!) count--;
    for (let i = row; i <= last; i++) {
      lineStarts[count] = Math.max(starts[i]!, end);
      lineFiles[count] = files[i]!;
      lineNumbers[count] = numbers[i]!;
      lineColumns[count++] = columns[i]!;
    }
    end = starts[last]!;
  }
  return {
    lineStarts: lineStarts.slice(0, count),
    lineFiles: lineFiles.slice(0, count),
    lineNumbers: lineNumbers.slice(0, count),
    lineColumns: lineColumns.slice(0, count),
  };
}
