import { lastAtMost } from "../base/search.js";
/** Code that was executed equally often, without a gap: instructions that begin at `start` up to before `end`. */
export interface CoveredRange {
  /** The kernel is -1. */
  readonly space: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly count: number;
}

/** A piece of code to be told about. */
export interface CodePiece {
  readonly name: string;
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

export interface CoveredPiece extends CodePiece {
  /** Executions of its first instruction, */
  readonly entries: number;
  /** of the one that was executed most, */
  readonly most: number;
  /** and bytes of those that were executed at all. */
  readonly bytes: number;
}

/** A line of source, from the line table. */
export interface LineStart {
  readonly file: string;
  readonly line: number;
  readonly address: bigint;
}

export interface CoveredLine {
  readonly file: string;
  readonly line: number;
  /** Executions of the instruction of it that was executed most: 0 where none was. */
  readonly count: number;
}

interface Space {
  /** Where the count changes, signed, ascending. */
  readonly starts: Float64Array;
  readonly counts: Float64Array;
}

/** How often code was executed in a window. Immutable. */
export class Coverage {
  private constructor(private readonly bySpace: ReadonlyMap<number, Space>) {}

  /** @param changes by space, what the count changes by at each address (signed) */
  static of(changes: ReadonlyMap<number, ReadonlyMap<number, number>>): Coverage {
    const spaces = new Map<number, Space>();
    for (const [space, map] of changes) {
      const all = Float64Array.from(map.keys()).sort();
      const starts: number[] = [];
      const counts: number[] = [];
      let count = 0;
      for (const address of all) {
        const change = map.get(address)!;
        if (change === 0) continue;
        count += change;
        starts.push(address);
        counts.push(count);
      }
      spaces.set(space, { starts: Float64Array.from(starts), counts: Float64Array.from(counts) });
    }
    return new Coverage(spaces);
  }

  /** The spaces in which something ran; the kernel is -1. */
  get spaces(): number[] {
    return [...this.bySpace.keys()].sort((a, b) => a - b);
  }

  /** How often the instruction at an address was executed. */
  countAt(address: bigint, space: number): number {
    const signed = Number(BigInt.asIntN(64, address));
    const found = this.bySpace.get(signed < 0 ? -1 : space);
    if (!found) return 0;
    const place = lastAtMost(found.starts, signed);
    return place < 0 ? 0 : found.counts[place]!;
  }

  /** The same in all spaces together. */
  countAnywhere(address: bigint): number {
    if (address >= 1n << 63n) return this.countAt(address, -1);
    return this.spaces.reduce((sum, space) => sum + (space < 0 ? 0 : this.countAt(address, space)), 0);
  }

  /** All code that ran, ascending within each space. */
  *ranges(): Generator<CoveredRange> {
    for (const space of this.spaces) {
      const { starts, counts } = this.bySpace.get(space)!;
      for (let i = 0; i < starts.length; i++) {
        if (counts[i]! <= 0) continue;
        const start = addressOf(starts[i]!);
        yield { space, start, end: addressOf(starts[i + 1] ?? starts[i]! + 1), count: counts[i]! };
      }
    }
  }

  /** What ran of some pieces of code, and which did not (`most` 0), in their order. */
  pieces(pieces: Iterable<CodePiece>, space: number): CoveredPiece[] {
    const told: CoveredPiece[] = [];
    for (const piece of pieces) {
      const low = Number(BigInt.asIntN(64, piece.start));
      const high = Number(BigInt.asIntN(64, piece.end));
      const found = this.bySpace.get(low < 0 ? -1 : space);
      let most = 0;
      let bytes = 0;
      if (found) {
        const { starts, counts } = found;
        for (let i = Math.max(0, lastAtMost(starts, low)); i < starts.length && starts[i]! < high; i++) {
          const from = Math.max(low, starts[i]!);
          const to = Math.min(high, starts[i + 1] ?? starts[i]! + 1);
          if (to <= from || counts[i]! <= 0) continue;
          most = Math.max(most, counts[i]!);
          bytes += to - from;
        }
      }
      told.push({ ...piece, entries: this.countAt(piece.start, space), most, bytes });
    }
    return told;
  }

  /** Lines of source, by file and line. */
  lines(starts: Iterable<LineStart>, space: number): CoveredLine[] {
    const lines = new Map<string, { file: string; line: number; count: number }>();
    for (const { file, line, address } of starts) {
      const count = this.countAt(address, space);
      const key = `${file}:${line}`;
      const known = lines.get(key);
      if (!known) lines.set(key, { file, line, count });
      else known.count = Math.max(known.count, count);
    }
    return [...lines.values()].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line));
  }
}

function addressOf(signed: number): bigint {
  return BigInt.asUintN(64, BigInt(signed));
}
