/// <reference types="node" preserve="true" />
/**
 * The guest's Linux: its tasks and objects where a machine stands still, stacks, probes, system calls, and who ran when.
 *
 * ```ts
 * import { placesFrom, Tape, timelineOptions } from "vmtape";
 * import { GuestTimeline } from "vmtape/linux";
 *
 * const places = placesFrom(process.env);
 * const tape = await Tape.open(places, "boot");
 * await using timeline = await GuestTimeline.open(tape, await timelineOptions(places, tape));
 * await timeline.probe("do_exit", (hit) => console.log(hit.icount, hit.task?.name));
 * await timeline.play();
 * ```
 */

export * from "./facts.js";
export { expressionContext } from "./linux/context/expression-context.js";
export { currentTask } from "./linux/guest/current-task.js";
export { LinuxGuest } from "./linux/guest/linux-guest.js";
export { type LinuxKernel, loadLinuxKernel } from "./linux/guest/linux-kernel.js";
export type { StoppedGuest } from "./linux/guest/stopped-guest.js";
export { stoppedTimeline } from "./linux/guest/stopped-timeline.js";
export {
  type HistoryTask,
  type Slice,
  TaskHistory,
  type TaskTotal,
  totalsOf,
} from "./linux/history/task-history.js";
export { TapeSymbols } from "./linux/names/tape-symbols.js";
export { type NamedAddress, TaskNames } from "./linux/names/task-names.js";
export { type CommandLine, readCommandLine } from "./linux/objects/command-line.js";
export { formatOpenFlags, type GuestFile } from "./linux/objects/file.js";
export {
  formatLogRecord,
  type KernelLog,
  type LogRecord,
  readKernelLog,
} from "./linux/objects/kernel-log.js";
export { formatModule, type ModuleFacts, readLoadedModules } from "./linux/objects/loaded-modules.js";
export { formatMapping, type Mapping, mappingAt, readMappings } from "./linux/objects/mappings.js";
export { type OpenFile, readOpenFiles } from "./linux/objects/open-files.js";
export type { Task } from "./linux/objects/task.js";
export { readTasks, taskAt, taskByPid } from "./linux/objects/task-list.js";
export { type ProbeNames, type ProbeScope, probeNamesOf } from "./linux/pass/probe-names.js";
export { TaskLearner, taskHistory } from "./linux/pass/task-pass.js";
export {
  GuestTimeline,
  type GuestTimelineOptions,
  type PlayRange,
  syscallKernel,
} from "./linux/probe/guest-timeline.js";
export { type HitVisitor, ProbeHitEvent, type ProbeValue } from "./linux/probe/hit.js";
export type { Probe, ProbeSpec } from "./linux/probe/probe.js";
export { type ProbeRunOptions, Probes } from "./linux/probe/probes.js";
export type { ProbeHandler, ProbeHandlers } from "./linux/probe/watch.js";
export type { Frame, Stack } from "./linux/stack/frame.js";
export { StackWalker, type StackWalkerOptions } from "./linux/stack/stack.js";
export { type NamedStack, TapeStacks } from "./linux/stack/tape.js";
export { KernelUnwinding } from "./linux/stack/unwind-kernel.js";
export { type SyscallKernel, type SyscallPassOptions, syscallEvents } from "./linux/syscall/pass.js";
export { readSyscalls, type Syscall, type SyscallParameter, SyscallTable } from "./linux/syscall/syscalls.js";
export type {
  ExitEvent,
  SignalEvent,
  StopEvent,
  SupersededEvent,
  SyscallEvent,
  TaskEvent,
} from "./linux/syscall/task-events.js";
