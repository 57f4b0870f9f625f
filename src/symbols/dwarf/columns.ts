/** Growing typed arrays: rows that are collected one by one, without an object for each. */

type Numbers = Float64Array | Int32Array | Uint32Array | Uint16Array;

/** As `array`, at least one row longer, or the same when it has room. */
export function roomFor<T extends Numbers>(array: T, index: number): T {
  if (index < array.length) return array;
  const grown = new (array.constructor as new (length: number) => T)(
    Math.max(1024, Math.ceil(array.length * 1.5)),
  );
  grown.set(array);
  return grown;
}

/** Functions and inlined copies in the order of the file: those that hold others come first. */
export class ScopeColumns {
  count = 0;
  /** The scope around an inlined copy; -1 for a function. */
  parents = new Int32Array(1024);
  names = new Uint32Array(1024);
  /** Address key of the first instruction, as the compiler states it. */
  entries = new Float64Array(1024);
  /** Where the function around it calls it; file 0 is unknown. */
  callFiles = new Uint32Array(1024);
  callLines = new Uint32Array(1024);
  callColumns = new Uint16Array(1024);

  /**
   * Where a copy starts in each further part of its function, if the compiler moved a part of the function away: the
   * scope, ascending, and the address.
   */
  partCount = 0;
  partScopes = new Int32Array(64);
  partStarts = new Float64Array(64);

  pushPart(scope: number, start: number): void {
    const at = this.partCount++;
    this.partScopes = roomFor(this.partScopes, at);
    this.partStarts = roomFor(this.partStarts, at);
    this.partScopes[at] = scope;
    this.partStarts[at] = start;
  }

  push(parent: number, entry: number): number {
    const at = this.count++;
    if (at >= this.parents.length) {
      this.parents = roomFor(this.parents, at);
      this.names = roomFor(this.names, at);
      this.entries = roomFor(this.entries, at);
      this.callFiles = roomFor(this.callFiles, at);
      this.callLines = roomFor(this.callLines, at);
      this.callColumns = roomFor(this.callColumns, at);
    }
    this.parents[at] = parent;
    this.entries[at] = entry;
    return at;
  }
}

/** Which addresses belong to which scope. */
export class RangeColumns {
  count = 0;
  starts = new Float64Array(1024);
  ends = new Float64Array(1024);
  scopes = new Int32Array(1024);

  push(start: number, end: number, scope: number): void {
    const at = this.count++;
    if (at >= this.starts.length) {
      this.starts = roomFor(this.starts, at);
      this.ends = roomFor(this.ends, at);
      this.scopes = roomFor(this.scopes, at);
    }
    this.starts[at] = start;
    this.ends[at] = end;
    this.scopes[at] = scope;
  }
}

/** Rows of line tables, and the sequences they come in. */
export class LineColumns {
  count = 0;
  starts = new Float64Array(1024);
  files = new Uint32Array(1024);
  lines = new Uint32Array(1024);
  /** Columns, with `statementBit` for rows that a breakpoint may stand at. */
  columns = new Uint16Array(1024);
  sequenceCount = 0;
  /** First row of each sequence; its last row only says where it ends. */
  sequenceRows = new Uint32Array(256);

  push(start: number, file: number, line: number, column: number): void {
    const at = this.count++;
    if (at >= this.starts.length) {
      this.starts = roomFor(this.starts, at);
      this.files = roomFor(this.files, at);
      this.lines = roomFor(this.lines, at);
      this.columns = roomFor(this.columns, at);
    }
    this.starts[at] = start;
    this.files[at] = file;
    this.lines[at] = line;
    this.columns[at] = column;
  }

  /** The rows from `first` on are a sequence. */
  closeSequence(first: number): void {
    this.sequenceRows = roomFor(this.sequenceRows, this.sequenceCount);
    this.sequenceRows[this.sequenceCount++] = first;
  }
}

export const statementBit = 0x8000;
export const columnMask = 0x7fff;
