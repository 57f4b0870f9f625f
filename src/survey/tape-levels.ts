import { openFileSource } from "../base/byte-source.js";
import { noLinks } from "../base/regular-file.js";
import { branchKindCodes } from "../formats/branch.js";
import { dialectFor } from "../formats/replay-log-dialect.js";
import { eventKinds } from "../formats/replay-log-layout.js";
import { readReplayLog } from "../formats/replay-log-reader.js";
import type { TaskHistory } from "../linux/history/task-history.js";
import type { Tape } from "../tape/tape.js";
import type { BranchLog } from "../trace/branch-log.js";
import { type Levels, LevelsBuilder } from "../views/levels.js";
import type { TransferRun } from "../views/transfers.js";
import { type LogReader, LogWalk, type LogWalkOptions } from "./log-walk.js";

export interface LevelsOptions extends LogWalkOptions {
  /** Names the code that interrupts enter: their vector. */
  readonly names: { nameOf(address: bigint): { readonly name: string } | undefined };
}

/** Events of the log that come from devices: disks, networks, keys, bytes that were typed. */
const fromDevices = new Set(eventKinds.filter((kind) => kind.startsWith("async-")));

/**
 * The levels of a whole tape, against instructions: from its branch log, its replay log and the history of its tasks.
 *
 * Cost: some 150 M records a second.
 *
 * @param log of the whole tape
 * @throws as `LogWalk.open`
 */
export async function tapeLevels(
  tape: Tape,
  log: BranchLog,
  history: TaskHistory | undefined,
  options: LevelsOptions,
): Promise<Levels> {
  const end = Number(tape.end.at);
  const builder = new LevelsBuilder(end);
  if (history) addTasks(builder, history);
  else builder.addRun(0, "kernel", 0, end);
  await addEvents(builder, tape, options.signal);
  const walk = await LogWalk.open(log, 0, end);
  const counter = new BranchCounter(builder, options.names, Math.max(1, Math.ceil(end / 2 ** 16)));
  await walk.read(counter, [][Symbol.iterator](), options);
  counter.flush();
  return builder.finish();
}

/** Who ran, in user space or not. The first task of pid 0 boots the kernel; later it idles. */
function addTasks(builder: LevelsBuilder, history: TaskHistory): void {
  const { icounts, numbers, tasks, crossings, end } = history.columns;
  let crossing = 0;
  let booted = false;
  for (let i = 0; i < history.length; i++) {
    const number = numbers[i]!;
    const to = icounts[i + 1] ?? end.icount;
    const idles = tasks[number]!.pid === 0 && booted;
    booted ||= tasks[number]!.pid > 0;
    if (i > 0 && tasks[numbers[i - 1]!]!.pid !== tasks[number]!.pid) builder.add("switches", icounts[i]!);
    for (let at = icounts[i]!; at < to; ) {
      while (crossing < crossings.length && crossings[crossing]! <= at) crossing++;
      const next = Math.min(to, crossings[crossing] ?? to);
      const inUser = crossing % 2 === 1;
      builder.addRun(number, inUser ? "user" : idles ? "idle" : "kernel", at, next);
      at = next;
    }
  }
}

/** What the console was given, and what came from devices. */
async function addEvents(builder: LevelsBuilder, tape: Tape, signal: AbortSignal | undefined): Promise<void> {
  await using source = await openFileSource(tape.layout.log, noLinks);
  const dialect = dialectFor(tape.manifest.qemu.version);
  const kinds = new Set([...fromDevices, "char-write" as const]);
  for await (const event of readReplayLog(source, dialect, { kinds, signal })) {
    const at = Number(event.icount);
    if (event.kind === "char-write") builder.add("consoleBytes", at, event.written);
    else builder.add("deviceEvents", at);
  }
}

/** Counts records: what most of them are, is added once a cell. */
class BranchCounter implements LogReader {
  private icount = 0;
  private since = 0;
  private branches = 0;
  private cellEnd: number;
  private readonly vectors = new Map<string, number>();

  constructor(
    private readonly builder: LevelsBuilder,
    private readonly names: LevelsOptions["names"],
    /** No wider than a cell, and cells begin at its multiples. */
    width: number,
  ) {
    this.width = 2 ** Math.floor(Math.log2(width));
    this.cellEnd = this.width;
  }

  private readonly width: number;

  startChunk(): void {}

  feed({ symbols, walk, start, end }: TransferRun): void {
    const { icountStep, kind } = symbols;
    for (let i = start; i < end; i++) {
      const symbol = walk[i]!;
      this.icount += icountStep[symbol]!;
      if (this.icount >= this.cellEnd) this.flush();
      this.branches++;
      const what = kind[symbol]!;
      if (what === branchKindCodes.syscall) this.builder.add("syscalls", this.icount);
      else if (what === branchKindCodes.exception) this.builder.add("exceptions", this.icount);
      else if (what === branchKindCodes.interrupt) {
        const [low, high] = [symbols.addresses[4 * symbol + 2]!, symbols.addresses[4 * symbol + 3]!];
        this.builder.addInterrupt(this.vectorOf(low, high), this.icount);
      }
    }
  }

  /** Adds what was counted, and goes to the cell of the instant at hand. */
  flush(): void {
    if (this.branches > 0) this.builder.add("branches", this.since, this.branches);
    this.branches = 0;
    this.since = Math.floor(this.icount / this.width) * this.width;
    this.cellEnd = this.since + this.width;
  }

  private vectorOf(low: number, high: number): number {
    const key = `${high}:${low}`;
    let vector = this.vectors.get(key);
    if (vector === undefined) {
      const address = (BigInt(high) << 32n) | BigInt(low);
      vector = this.builder.vector(this.names.nameOf(address)?.name ?? `0x${address.toString(16)}`);
      this.vectors.set(key, vector);
    }
    return vector;
  }
}
