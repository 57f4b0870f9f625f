import { deserialize, serialize } from "node:v8";
import { lastAtMost } from "../../base/search.js";

/** A task as far as a stretch of time is attributed to it. */
export interface HistoryTask {
  /** Of one that ran before Linux did: -1. */
  readonly pid: number;
  /** Its process. */
  readonly tgid: number;
  readonly name: string;
  /** Address of its `task_struct`, 0 before Linux ran. */
  readonly address: bigint;
  /** Address of its `mm_struct`; 0 for a kernel thread. */
  readonly mm: bigint;
}

/** What happened to an address space, in the order it happened. */
export type SpaceEvent = { readonly icount: number; readonly mm: bigint } & (
  | { readonly kind: "map"; readonly mapping: FileMapping }
  | { readonly kind: "copy"; readonly from: bigint }
  | { readonly kind: "free" }
);

/** A file's code in an address space. */
export interface FileMapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly fileOffset: bigint;
  /** As far as its directories' names tell, without mounts: `/usr/lib/libc.so.6`. */
  readonly path: string;
  readonly device: number;
  readonly inode: bigint;
}

/** What one pass through a tape showed; see {@link TaskHistory}. */
export interface HistoryColumns {
  /** Instants at which a task began to run, or changed its name or address space: icount and brctr, ascending. */
  readonly icounts: Float64Array;
  readonly brctrs: Float64Array;
  /** Which of `tasks`. */
  readonly numbers: Int32Array;
  readonly tasks: readonly HistoryTask[];
  /** icounts where user space was entered and left, in turn, ascending. */
  readonly crossings: Float64Array;
  readonly spaces: readonly SpaceEvent[];
  readonly end: { readonly icount: number; readonly brctr: number };
}

/** A stretch of time in which one task ran. Ends are exclusive; of one that was cut, the branch counts are the whole one's. */
export interface Slice {
  readonly task: HistoryTask;
  readonly from: { readonly icount: number; readonly brctr: number };
  readonly to: { readonly icount: number; readonly brctr: number };
  readonly instructions: number;
  /** Instructions of it in user space. */
  readonly userInstructions: number;
  /** Undefined where it was cut at an instant whose branch count is not known. */
  readonly branches: number | undefined;
}

/** All stretches of one task together. */
export interface TaskTotal {
  readonly task: HistoryTask;
  readonly slices: number;
  readonly instructions: number;
  readonly userInstructions: number;
  readonly branches: number | undefined;
}

/** What `--task` means: a pid (of a process, with all its threads, or of one thread) or a name. */
export function taskMatcher(wanted: string): (task: HistoryTask) => boolean {
  if (!/^\d+$/.test(wanted)) return ({ name }) => name === wanted;
  const pid = Number(wanted);
  return (task) => task.pid === pid || task.tgid === pid;
}

/** Adds stretches up by task and name, the busiest first. */
export function totalsOf(slices: Iterable<Slice>): TaskTotal[] {
  const totals = new Map<string, { -readonly [K in keyof TaskTotal]: TaskTotal[K] }>();
  for (const { task, instructions, userInstructions, branches } of slices) {
    const key = `${task.address}:${task.pid}:${task.name}`;
    const total = totals.get(key);
    if (!total) {
      totals.set(key, { task, slices: 1, instructions, userInstructions, branches });
      continue;
    }
    total.slices++;
    total.instructions += instructions;
    total.userInstructions += userInstructions;
    if (total.branches !== undefined && branches !== undefined) total.branches += branches;
    else total.branches = undefined;
  }
  return [...totals.values()].sort((a, b) => b.instructions - a.instructions);
}

const version = 1;

/**
 * Which task ran when, for a whole tape. A task runs from the entry of `__switch_to` on, when its stack is the machine's;
 * interrupts that come meanwhile are in its time. Before Linux there is one task with pid -1.
 */
export class TaskHistory {
  readonly columns: HistoryColumns;
  /** userBefore[i]: instructions in user space before crossing i. */
  private readonly userBefore: Float64Array;

  constructor(columns: HistoryColumns) {
    this.columns = columns;
    const { crossings } = columns;
    this.userBefore = new Float64Array(crossings.length + 1);
    for (let i = 0; i < crossings.length; i++) {
      const inUser = i % 2 === 1 ? crossings[i]! - crossings[i - 1]! : 0;
      this.userBefore[i + 1] = this.userBefore[i]! + inUser;
    }
  }

  /** All tasks that ever ran, in the order in which they first did; one that changed its name is there twice. */
  get tasks(): readonly HistoryTask[] {
    return this.columns.tasks;
  }

  /** How many stretches there are. */
  get length(): number {
    return this.columns.icounts.length;
  }

  /** Which stretch an instant lies in. */
  indexAt(icount: number): number {
    return lastAtMost(this.columns.icounts, icount);
  }

  /** Which stretch a branch record lies in. */
  indexOfBranch(brctr: number): number {
    return lastAtMost(this.columns.brctrs, brctr);
  }

  taskOf(index: number): HistoryTask {
    return this.columns.tasks[this.columns.numbers[index]!]!;
  }

  /** The task that ran at an instant. */
  taskAt(icount: number): HistoryTask {
    return this.taskOf(this.indexAt(icount));
  }

  /** One stretch. */
  slice(index: number): Slice {
    const { icounts, brctrs, end } = this.columns;
    const from = { icount: icounts[index]!, brctr: brctrs[index]! };
    const next = index + 1;
    const to = next < this.length ? { icount: icounts[next]!, brctr: brctrs[next]! } : end;
    const userInstructions = this.userUpTo(to.icount) - this.userUpTo(from.icount);
    return {
      task: this.taskOf(index),
      from,
      to,
      instructions: to.icount - from.icount,
      userInstructions,
      branches: to.brctr - from.brctr,
    };
  }

  /**
   * The stretches between two instants, of one task after another, without empty ones; the first and last are cut there.
   */
  *slices(from = 0, to = this.columns.end.icount): Generator<Slice> {
    for (let i = this.indexAt(from); i < this.length; i++) {
      const slice = this.slice(i);
      if (slice.from.icount >= to) return;
      const cut = this.cut(slice, from, to);
      if (cut.to.icount > cut.from.icount) yield cut;
    }
  }

  /** Ranges of branch records of the tasks that are wanted, `from` inclusive to `to` exclusive, ascending and disjoint. */
  branchRanges(isWanted: (task: HistoryTask) => boolean): { from: number; to: number }[] {
    const wanted = this.tasks.map(isWanted);
    const ranges: { from: number; to: number }[] = [];
    const { numbers, brctrs, end } = this.columns;
    for (let i = 0; i < this.length; i++) {
      if (!wanted[numbers[i]!]) continue;
      const from = brctrs[i]!;
      const to = brctrs[i + 1] ?? end.brctr;
      const before = ranges.at(-1);
      if (before?.to === from) before.to = to;
      else if (to > from) ranges.push({ from, to });
    }
    return ranges;
  }

  encode(): Uint8Array {
    return serialize({ version, columns: this.columns });
  }

  /** What {@link encode} gave, from this user's own cache; undefined when it is damaged or of another version. */
  static decode(bytes: Uint8Array): TaskHistory | undefined {
    try {
      const held = deserialize(bytes) as { version?: number; columns?: HistoryColumns };
      return held.version === version && held.columns ? new TaskHistory(held.columns) : undefined;
    } catch {
      return undefined;
    }
  }

  private cut(slice: Slice, from: number, to: number): Slice {
    if (slice.from.icount >= from && slice.to.icount <= to) return slice;
    const start = Math.max(from, slice.from.icount);
    const end = Math.min(to, slice.to.icount);
    return {
      task: slice.task,
      from: { icount: start, brctr: slice.from.brctr },
      to: { icount: end, brctr: slice.to.brctr },
      instructions: end - start,
      userInstructions: this.userUpTo(end) - this.userUpTo(start),
      branches: undefined,
    };
  }

  /** Instructions executed in user space before an instant. */
  private userUpTo(icount: number): number {
    const { crossings } = this.columns;
    const passed = lastAtMost(crossings, icount) + 1;
    const open = passed % 2 === 1 ? icount - crossings[passed - 1]! : 0;
    return this.userBefore[passed]! + open;
  }
}
