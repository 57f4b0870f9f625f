/** What is told of each cell, besides who had most of it. Instructions for the first three, else numbers of events. */
export const levelSums = [
  "kernel",
  "user",
  "idle",
  "branches",
  "syscalls",
  "exceptions",
  "interrupts",
  "switches",
  "consoleBytes",
  "deviceEvents",
] as const;
export type LevelSum = (typeof levelSums)[number];

/** Cells of one width, as columns. `from` and `width` in the units the levels were made in. */
export interface LevelCells {
  readonly from: number;
  readonly width: number;
  readonly length: number;
  /** The task that had most of each cell; -1 where nothing ran. */
  readonly task: Int32Array;
  readonly taskAmount: Float64Array;
  readonly sums: Readonly<Record<LevelSum, Float64Array>>;
  /** Interrupts by vector: a column for each of `Levels.vectors`. */
  readonly vectors: readonly Float64Array[];
}

/** Cells of the finest level: what a level holds does not depend on the tape. */
const mostCells = 1 << 16;
const coarsest = 1 << 6;

interface Level {
  readonly width: number;
  readonly length: number;
  readonly task: Int32Array;
  readonly taskAmount: Float64Array;
  readonly sums: Record<LevelSum, Float64Array>;
  readonly vectors: Float64Array[];
}

/** Fills {@link Levels}. What is added must ascend; memory is some 25 MB whatever the tape. */
export class LevelsBuilder {
  private readonly levels: Level[] = [];
  /** By level: the cell at hand, and what each task had of it. */
  private readonly open: { cell: number; readonly amounts: Map<number, number> }[] = [];
  private readonly vectorNames: string[] = [];

  /** @param end how long it is all: instructions, or guest time */
  constructor(readonly end: number) {
    let width = 1;
    while (Math.ceil(end / width) > mostCells) width *= 2;
    for (; ; width *= 2) {
      const length = Math.max(1, Math.ceil(end / width));
      const sums = Object.fromEntries(levelSums.map((sum) => [sum, new Float64Array(length)]));
      this.levels.push({
        width,
        length,
        task: new Int32Array(length).fill(-1),
        taskAmount: new Float64Array(length),
        sums: sums as Record<LevelSum, Float64Array>,
        vectors: [],
      });
      this.open.push({ cell: 0, amounts: new Map() });
      if (length <= coarsest) break;
    }
  }

  /** A stretch in which one task ran in one mode. */
  addRun(task: number, mode: "kernel" | "user" | "idle", from: number, to: number): void {
    if (to <= from) return;
    for (let number = 0; number < this.levels.length; number++) {
      const level = this.levels[number]!;
      const open = this.open[number]!;
      const { width } = level;
      for (let cell = Math.floor(from / width); cell * width < to; cell++) {
        const amount = Math.min(to, (cell + 1) * width) - Math.max(from, cell * width);
        if (cell !== open.cell) this.close(number, cell);
        const sum = (open.amounts.get(task) ?? 0) + amount;
        open.amounts.set(task, sum);
        if (number === 0) level.sums[mode][this.clip(cell)]! += amount;
      }
    }
  }

  /** Something that happened so often at an instant (of an event at the very end: in the last cell). */
  add(what: Exclude<LevelSum, "kernel" | "user" | "idle">, at: number, times = 1): void {
    const { sums, width } = this.levels[0]!;
    sums[what][this.clip(Math.floor(at / width))]! += times;
  }

  /** The number of an interrupt's vector, by its name. */
  vector(name: string): number {
    const known = this.vectorNames.indexOf(name);
    if (known >= 0) return known;
    for (const level of this.levels) level.vectors.push(new Float64Array(level.length));
    return this.vectorNames.push(name) - 1;
  }

  addInterrupt(vector: number, at: number, times = 1): void {
    this.add("interrupts", at, times);
    const { vectors, width } = this.levels[0]!;
    vectors[vector]![this.clip(Math.floor(at / width))]! += times;
  }

  finish(): Levels {
    for (let number = 0; number < this.levels.length; number++) this.close(number, -1);
    for (let number = 1; number < this.levels.length; number++) {
      const [fine, coarse] = [this.levels[number - 1]!, this.levels[number]!];
      for (const sum of levelSums) addPairs(fine.sums[sum], coarse.sums[sum]);
      for (const [vector, column] of fine.vectors.entries()) addPairs(column, coarse.vectors[vector]!);
    }
    return new Levels(this.end, this.levels, this.vectorNames);
  }

  private clip(cell: number): number {
    return Math.max(0, Math.min(this.levels[0]!.length - 1, cell));
  }

  /** Says who had most of the cell at hand, and goes to another. */
  private close(number: number, next: number): void {
    const { task, taskAmount } = this.levels[number]!;
    const open = this.open[number]!;
    for (const [who, amount] of open.amounts) {
      if (amount < taskAmount[open.cell]!) continue;
      if (amount === taskAmount[open.cell] && task[open.cell]! <= who && task[open.cell]! >= 0) continue;
      task[open.cell] = who;
      taskAmount[open.cell] = amount;
    }
    open.amounts.clear();
    open.cell = next;
  }
}

function addPairs(fine: Float64Array, coarse: Float64Array): void {
  for (let i = 0; i < fine.length; i++) coarse[i >> 1]! += fine[i]!;
}

/** A tape at every zoom: a question reads at most as many cells as it asks for, however long the tape. */
export class Levels {
  constructor(
    readonly end: number,
    private readonly levels: readonly Level[],
    /** Names of interrupts' vectors. */
    readonly vectors: readonly string[],
  ) {}

  /**
   * The cells of a stretch: the finest ones of which there are no more than `most`. Columns are borrowed from the levels. The
   * coarsest level has up to 64 cells, which are the least that can be asked for.
   */
  query(from: number, to: number, most: number): LevelCells {
    const level =
      this.levels.find(({ width }) => Math.ceil(to / width) - Math.floor(from / width) <= most) ??
      this.levels.at(-1)!;
    const { width, length } = level;
    const first = Math.min(length - 1, Math.max(0, Math.floor(from / width)));
    const last = Math.min(length, Math.max(first + 1, Math.ceil(to / width)));
    const part = (column: Float64Array) => column.subarray(first, last);
    const sums = Object.fromEntries(levelSums.map((sum) => [sum, part(level.sums[sum])]));
    return {
      from: first * width,
      width,
      length: last - first,
      task: level.task.subarray(first, last),
      taskAmount: part(level.taskAmount),
      sums: sums as Record<LevelSum, Float64Array>,
      vectors: level.vectors.map(part),
    };
  }
}
