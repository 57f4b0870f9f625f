import type { TaskHistory } from "../linux/history/task-history.js";
import type { BranchLog } from "../trace/branch-log.js";
import type { Coverage } from "../views/coverage.js";
import { CoverageBuilder } from "../views/coverage-builder.js";
import type { TransferRun } from "../views/transfers.js";
import { type LogReader, type LogStop, LogWalk, type LogWalkOptions } from "./log-walk.js";
import { type SwitchOptions, taskSwitches } from "./task-switches.js";

export interface CoverOptions extends LogWalkOptions, SwitchOptions {
  /** The window, as icounts: default the log's. */
  readonly from?: number;
  readonly to?: number;
  /** Who ran when: user addresses are told apart by its numbers of tasks, and 1 more. Without it they are of space 0. */
  readonly history?: TaskHistory | undefined;
}

/**
 * Which code ran in a window of a branch log, and how often.
 *
 * Cost: some 150 M records a second.
 *
 * @throws as `LogWalk.open`
 */
export async function coverLog(log: BranchLog, options: CoverOptions = {}): Promise<Coverage> {
  const from = options.from ?? Number(log.info.start.icount);
  const to = options.to ?? Number(log.info.end.icount);
  const walk = await LogWalk.open(log, from, to);
  const gate = new CoverageGate(from);
  await walk.read(
    gate,
    options.history ? switches(walk, options.history, options, gate) : noStops(),
    options,
  );
  return gate.finish(to);
}

/** Lets records through while a wanted task runs. */
class CoverageGate implements LogReader {
  private readonly builder = new CoverageBuilder();
  private isOpen = true;
  private icount: number;

  constructor(from: number) {
    this.icount = from;
  }

  startChunk(): void {
    this.builder.startChunk();
  }

  feed(run: TransferRun): void {
    if (!this.isOpen) return;
    this.builder.feed(run);
    const { icountStep } = run.symbols;
    for (let i = run.start; i < run.end; i++) this.icount += icountStep[run.walk[i]!]!;
  }

  /** At an instant: who runs, and is it wanted? */
  set(isOpen: boolean, icount: number, space: number): void {
    if (this.isOpen && !isOpen) this.builder.break(icount - this.icount);
    if (!this.isOpen) this.icount = icount;
    this.isOpen = isOpen;
    this.builder.enter(space);
  }

  finish(icount: number): Coverage {
    return this.builder.finish(this.isOpen ? icount - this.icount : 0);
  }
}

function* noStops(): Generator<LogStop> {}

function* switches(
  walk: LogWalk,
  history: TaskHistory,
  options: CoverOptions,
  gate: CoverageGate,
): Generator<LogStop> {
  for (const { brctr, icount, space, isWanted } of taskSwitches(walk, history, options))
    yield { brctr, reached: () => gate.set(isWanted, icount, space) };
}
