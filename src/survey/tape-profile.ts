import type { TaskHistory } from "../linux/history/task-history.js";
import type { TaskNames } from "../linux/names/task-names.js";
import type { BranchLog } from "../trace/branch-log.js";
import { CallFollower, type FrameListener } from "../views/call-follower.js";
import type { FunctionLookup } from "../views/functions.js";
import { type LogReader, type LogStop, LogWalk, type LogWalkOptions } from "./log-walk.js";
import { type SwitchOptions, taskSwitches } from "./task-switches.js";

/** Names of addresses that need no task: the kernel's, and what the user named. */
export interface PlainNames {
  nameOf(address: bigint): { readonly name: string; readonly offset: number } | undefined;
}

export interface FollowOptions extends LogWalkOptions, SwitchOptions {
  /** The window, as icounts: default the log's. */
  readonly from?: number;
  readonly to?: number;
  /** Who ran when. Without it all is one task's, and calls are lost at each switch. */
  readonly history?: TaskHistory | undefined;
  /** Moves with the history; or names that stay. */
  readonly names?: TaskNames | undefined;
  readonly plainNames?: PlainNames | undefined;
  readonly listener?: FrameListener;
  readonly mostNodes?: number;
}

/**
 * Follows the calls of a window of a branch log. The tasks of the tree are numbers of the history's `columns.tasks`.
 *
 * Cost: some 60 M records a second.
 *
 * @throws as `LogWalk.open`
 */
export async function followLog(log: BranchLog, options: FollowOptions): Promise<CallFollower> {
  const { info } = log;
  const from = options.from ?? Number(info.start.icount);
  const to = options.to ?? Number(info.end.icount);
  const walk = await LogWalk.open(log, from, to);
  const { listener, mostNodes } = options;
  const follower = new CallFollower({ ...(listener && { listener }), ...(mostNodes && { mostNodes }) });
  const gate = new Gate(follower);
  follower.skipTo(from);
  const stops = options.history ? switches(walk, options.history, options, gate) : plain(options, gate);
  await walk.read(gate, stops, options);
  gate.finish(to);
  return follower;
}

/** Lets records through while a wanted task runs. */
class Gate implements LogReader {
  private isOpen = true;

  constructor(readonly follower: CallFollower) {}

  startChunk(): void {
    this.follower.startChunk();
  }

  feed(run: Parameters<LogReader["feed"]>[0]): void {
    if (this.isOpen) this.follower.feed(run);
  }

  /** At an instant: is what follows wanted? */
  set(isOpen: boolean, icount: number): void {
    if (this.isOpen) this.follower.chargeTo(icount);
    else this.follower.skipTo(icount);
    this.isOpen = isOpen;
  }

  finish(icount: number): void {
    if (!this.isOpen) this.follower.skipTo(icount);
    this.follower.finish(icount);
  }
}

function* plain({ plainNames }: FollowOptions, { follower }: Gate): Generator<LogStop> {
  follower.run(0, "", 0, plainNames && { functionOf: (address) => plainNames.nameOf(address) });
}

/** Each change of tasks in the window. */
function* switches(
  walk: LogWalk,
  history: TaskHistory,
  options: FollowOptions,
  gate: Gate,
): Generator<LogStop> {
  const { names, plainNames } = options;
  const lookup: FunctionLookup | undefined = names
    ? { functionOf: (address) => names.nameOf(address) ?? fileOf(names, address) }
    : plainNames && { functionOf: (address) => plainNames.nameOf(address) };
  for (const { brctr, icount, index, number, task, space, isWanted } of taskSwitches(
    walk,
    history,
    options,
  )) {
    yield {
      brctr,
      reached: async () => {
        gate.set(isWanted, icount);
        await names?.enter(index);
        gate.follower.run(number, `${task.address}:${task.pid}`, space, lookup);
      },
    };
  }
}

/** Code of a file without symbols goes by the file's name. */
function fileOf(names: TaskNames, address: bigint): { name: string; offset: number } | undefined {
  const place = names.fileOf(address);
  return place === undefined
    ? undefined
    : { name: `[${place.slice(0, place.lastIndexOf("+"))}]`, offset: Number.NaN };
}
