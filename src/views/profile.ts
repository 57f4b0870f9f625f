import type { CallFollower } from "./call-follower.js";
import { noFunction } from "./call-tree.js";

/** A function's part of a profile. */
export interface FunctionTotal {
  readonly fn: number;
  readonly name: string;
  readonly isKernel: boolean;
  /** Instructions of its own, and with all it called (once, however deep it calls itself). */
  readonly self: number;
  readonly total: number;
  readonly branches: number;
  /** Calls, jumps in place of a call, and entries from outside; */
  readonly calls: number;
  /** and executions of its first instruction, loops to it included: what a probe there counts. */
  readonly entries: number;
}

/** A caller of a function, with what the function did on its behalf. */
export interface CallerTotal {
  /** -1: nobody that is known. */
  readonly fn: number;
  readonly name: string;
  readonly total: number;
  readonly calls: number;
}

/** A task's part of a profile. */
export interface ProfileTask {
  readonly task: number;
  /** Of all that ran in its time; interrupts are in it, and told apart, too. */
  readonly instructions: number;
  readonly kernel: number;
  readonly user: number;
  readonly interrupts: number;
  readonly branches: number;
}

/** Columns of a profile's nodes; parents lie before their children. */
export interface ProfileColumns {
  readonly length: number;
  /** -1 for a root. Each task has two: its own, and that of the interrupts in its time (`apart` 1). */
  readonly parent: Int32Array;
  /** -1 for a root. */
  readonly fn: Int32Array;
  readonly task: Int32Array;
  readonly apart: Uint8Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  readonly branches: Float64Array;
  readonly calls: Float64Array;
}

/**
 * Where the instructions of a stretch went: each is in one node's `self`, so that these add up to the stretch's
 * instructions, to the last one. Immutable.
 */
export class Profile {
  /** Of all nodes. */
  readonly instructions: number;
  readonly branches: number;

  constructor(
    readonly columns: ProfileColumns,
    readonly names: readonly string[],
    readonly isKernel: readonly boolean[],
    readonly entries: Float64Array,
    /** Where the tree was full, and paths are charged to where they left it. */
    readonly isCut = false,
  ) {
    this.instructions = sum(columns.self, columns.length);
    this.branches = sum(columns.branches, columns.length);
  }

  static of({ tree, functions, entries }: CallFollower): Profile {
    const { length } = tree;
    const total = tree.self.slice(0, length);
    for (let node = length - 1; node >= 0; node--) {
      const parent = tree.parent[node]!;
      if (parent >= 0) total[parent]! += total[node]!;
    }
    const columns = {
      length,
      parent: tree.parent.subarray(0, length),
      fn: tree.fn.subarray(0, length),
      task: tree.task.subarray(0, length),
      apart: tree.apart.subarray(0, length),
      self: tree.self.subarray(0, length),
      total,
      branches: tree.branches.subarray(0, length),
      calls: tree.calls.subarray(0, length),
    };
    return new Profile(columns, functions.names, functions.isKernel, entries, tree.isCut);
  }

  /** All functions, the one with the most instructions of its own first. */
  flat(): FunctionTotal[] {
    const { length, fn, parent, self, total, branches, calls } = this.columns;
    const count = this.names.length;
    const sums = { self: zeros(count), total: zeros(count), branches: zeros(count), calls: zeros(count) };
    const open = this.outermost();
    for (let node = 0; node < length; node++) {
      const number = fn[node]!;
      if (number === noFunction || parent[node]! < 0) continue;
      sums.self[number]! += self[node]!;
      sums.branches[number]! += branches[node]!;
      sums.calls[number]! += calls[node]!;
      if (open[node]) sums.total[number]! += total[node]!;
    }
    const rows: FunctionTotal[] = [];
    for (let number = 0; number < count; number++) {
      const entries = this.entries[number] ?? 0;
      if (sums.total[number] === 0 && sums.calls[number] === 0 && entries === 0) continue;
      rows.push({
        fn: number,
        name: this.names[number]!,
        isKernel: this.isKernel[number]!,
        self: sums.self[number]!,
        total: sums.total[number]!,
        branches: sums.branches[number]!,
        calls: sums.calls[number]!,
        entries,
      });
    }
    return rows.sort((a, b) => b.self - a.self || b.total - a.total || a.fn - b.fn);
  }

  /** Who called a function, the one on whose behalf it did most first. */
  callersOf(fn: number): CallerTotal[] {
    const { columns } = this;
    const open = this.outermost();
    const callers = new Map<number, { total: number; calls: number }>();
    for (let node = 0; node < columns.length; node++) {
      if (columns.fn[node] !== fn) continue;
      const caller = columns.fn[columns.parent[node]!]!;
      const sums = callers.get(caller) ?? { total: 0, calls: 0 };
      if (open[node]) sums.total += columns.total[node]!;
      sums.calls += columns.calls[node]!;
      callers.set(caller, sums);
    }
    return [...callers]
      .map(([caller, sums]) => ({ fn: caller, name: this.names[caller] ?? "", ...sums }))
      .sort((a, b) => b.total - a.total || a.fn - b.fn);
  }

  /** Each task with its parts, the busiest first. */
  byTask(): ProfileTask[] {
    const { length, task, fn, apart, self, branches } = this.columns;
    const tasks = new Map<number, { -readonly [K in keyof ProfileTask]: ProfileTask[K] }>();
    for (let node = 0; node < length; node++) {
      const number = task[node]!;
      let row = tasks.get(number);
      if (!row) {
        row = { task: number, instructions: 0, kernel: 0, user: 0, interrupts: 0, branches: 0 };
        tasks.set(number, row);
      }
      row.instructions += self[node]!;
      row.branches += branches[node]!;
      if (apart[node]) row.interrupts += self[node]!;
      else if (this.isKernel[fn[node]!]) row.kernel += self[node]!;
      else row.user += self[node]!;
    }
    return [...tasks.values()]
      .filter(({ instructions, branches: made }) => instructions > 0 || made > 0)
      .sort((a, b) => b.instructions - a.instructions || a.task - b.task);
  }

  /** Parts of functions of one kind, outermost first: what each system call took with all it called, say. */
  byOutermost(isOne: (name: string) => boolean): { name: string; calls: number; total: number }[] {
    const { length, fn, parent, calls, total } = this.columns;
    const wanted = this.names.map(isOne);
    const inside = new Uint8Array(length);
    const rows = new Map<number, { name: string; calls: number; total: number }>();
    for (let node = 0; node < length; node++) {
      const up = parent[node]!;
      if (up >= 0 && inside[up]) {
        inside[node] = 1;
        continue;
      }
      const number = fn[node]!;
      if (number < 0 || !wanted[number]) continue;
      inside[node] = 1;
      const row = rows.get(number) ?? { name: this.names[number]!, calls: 0, total: 0 };
      row.calls += calls[node]!;
      row.total += total[node]!;
      rows.set(number, row);
    }
    return [...rows.values()].sort((a, b) => b.total - a.total);
  }

  /** By node: 1 where none of the callers is the same function. */
  private outermost(): Uint8Array {
    const { length, fn, parent } = this.columns;
    const open = new Uint8Array(length);
    for (let node = 0; node < length; node++) {
      const number = fn[node]!;
      let up = parent[node]!;
      while (up >= 0 && fn[up] !== number) up = parent[up]!;
      open[node] = up < 0 ? 1 : 0;
    }
    return open;
  }
}

function zeros(count: number): Float64Array {
  return new Float64Array(count);
}

function sum(values: Float64Array, length: number): number {
  let all = 0;
  for (let i = 0; i < length; i++) all += values[i]!;
  return all;
}
