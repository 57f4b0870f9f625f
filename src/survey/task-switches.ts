import type { HistoryTask, TaskHistory } from "../linux/history/task-history.js";
import type { LogWalk } from "./log-walk.js";

/** A change of tasks in a window of a branch log, that at its beginning among them. */
export interface TaskSwitch {
  /** Before which record, and since which icount of the window. */
  readonly brctr: number;
  readonly icount: number;
  /** In the history: its place, and the task's number. */
  readonly index: number;
  readonly number: number;
  readonly task: HistoryTask;
  /** Tells user addresses apart: the task's number, and 1 more; 0 before Linux. */
  readonly space: number;
  readonly isWanted: boolean;
}

export interface SwitchOptions {
  /** Only these tasks are of interest; default: all. */
  readonly isWanted?: ((task: HistoryTask) => boolean) | undefined;
}

/** Each of them, in order. */
export function* taskSwitches(
  walk: LogWalk,
  history: TaskHistory,
  { isWanted }: SwitchOptions,
): Generator<TaskSwitch> {
  const { numbers, tasks } = history.columns;
  for (let index = history.indexAt(walk.from); index < history.length; index++) {
    const { from } = history.slice(index);
    if (from.icount >= walk.to && from.icount > walk.from) return;
    const number = numbers[index]!;
    const task = tasks[number]!;
    yield {
      brctr: from.brctr,
      icount: Math.max(walk.from, from.icount),
      ...{ index, number, task },
      space: task.pid < 0 ? 0 : number + 1,
      isWanted: isWanted ? isWanted(task) : true,
    };
  }
}
