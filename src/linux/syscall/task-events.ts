import type { HistoryTask } from "../history/task-history.js";
import type { CallWay } from "./places.js";
import type { SignalFacts } from "./signals.js";
import type { Syscall } from "./syscalls.js";

/** A system call, from its entry to its result. */
export interface SyscallEvent {
  readonly kind: "call";
  readonly task: HistoryTask;
  readonly way: CallWay;
  readonly call: Syscall;
  readonly number: number;
  /** The six argument registers. */
  readonly arguments: readonly bigint[];
  /** The call's own arguments as text: names, strings, structures. */
  readonly texts: readonly string[];
  /** The instant at which the kernel had its arguments. */
  readonly from: number;
  /** The instant at which the kernel had its result; undefined when it did not return while the tape was watched. */
  readonly to: number | undefined;
  readonly result: bigint | undefined;
}

/**
 * A signal takes effect: a handler is about to run, the task stops, it goes on (SIGCONT), or it will end. Others are
 * dropped by the kernel.
 */
export interface SignalEvent extends SignalFacts {
  readonly kind: "signal";
  readonly task: HistoryTask;
  readonly from: number;
}

/** A task stops, by a signal that it or another thread of its program got. */
export interface StopEvent {
  readonly kind: "stop";
  readonly task: HistoryTask;
  readonly from: number;
  readonly signal: number;
}

/** A task ends. */
export interface ExitEvent {
  readonly kind: "exit";
  readonly task: HistoryTask;
  readonly from: number;
  /** As wait(2) gives it. */
  readonly code: number;
}

/** The first thread of a program ends because another one has called `execve`, and goes on with its pid. */
export interface SupersededEvent {
  readonly kind: "superseded";
  readonly task: HistoryTask;
  readonly from: number;
  /** The pid that the other one had. */
  readonly by: number;
}

export type TaskEvent = SyscallEvent | SignalEvent | StopEvent | ExitEvent | SupersededEvent;
