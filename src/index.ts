/// <reference types="node" preserve="true" />
/**
 * vmtape as a library: the same calls the command line is made of. They neither print nor exit; every failure is a
 * {@link VmtapeError} with a stable code; `AbortSignal` cancels what takes long.
 *
 * ```ts
 * import { defaultRecordOptions, icount, makeGuest, placesFrom, record, Session, verifyTape } from "vmtape";
 *
 * const places = placesFrom(process.env);
 * const guest = await makeGuest({ cacheDir: places.cache });
 * const recording = await record(places, { ...(await defaultRecordOptions("boot")), ...guest });
 * const tape = await recording.done;
 * await using session = await Session.create(tape);
 * await session.start(icount(1_000_000n)); // paused there
 * const report = await verifyTape(tape);
 * ```
 */

// Facts that every call deals in.
export { type ByteSource, bytesSource, type FileSource, openFileSource } from "./base/byte-source.js";
export {
  type ErrorClass,
  type ErrorCode,
  type ErrorFacts,
  errorClasses,
  isVmtapeError,
  VmtapeError,
} from "./base/errors.js";
export type { GuestMemory } from "./base/guest-memory.js";
export type { DebugSink } from "./base/log.js";
export type { ProgressReport, ProgressSink } from "./base/progress.js";
export { contextOf, during, type RunContext, type Stoppable } from "./base/run-context.js";
export {
  type Brctr,
  brctr,
  type GuestAddress,
  guestAddress,
  type Icount,
  icount,
  type PhysicalAddress,
  physicalAddress,
} from "./base/units.js";
// Branches: collect, open, seek, read, convert.
export { BranchBatch, type BranchKind, type BranchRecord, branchKinds } from "./formats/branch.js";
// What a tape says of itself.
export type { EndCause, Manifest, ManifestEnd, StoredFile, SymbolFile } from "./formats/manifest.js";
// The replay log.
export {
  dialect71,
  dialect72,
  dialectFor,
  type ReplayLogDialect,
  type ShutdownCause,
} from "./formats/replay-log-dialect.js";
export { encodeLogHeader, ReplayLogEncoder } from "./formats/replay-log-encoder.js";
export type { EventBody, ReplayEvent } from "./formats/replay-log-event.js";
export { type EventKind, eventKinds } from "./formats/replay-log-layout.js";
export { guessDialect, parseKinds, readEventLists, readReplayLog } from "./formats/replay-log-reader.js";
export { type LogSummary, summarizeLog } from "./formats/replay-log-summary.js";
export { eventToJson, formatEvent } from "./formats/replay-log-text.js";
// A timeline as a GDB server.
export { type ListenAddress, parseListenAddress } from "./gdb/listen-address.js";
export type { MemoryRange, MonitorDesk, NamedMark } from "./gdb/monitor-desk.js";
export { GdbServer, type GdbServerOptions } from "./gdb/server.js";
// Guests and QEMU.
export { type Addition, parseAddition } from "./guest/addition.js";
export { type Guest, type GuestOptions, makeGuest } from "./guest/guest.js";
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
// Names.
export { TapeSymbols } from "./linux/names/tape-symbols.js";
// The guest's Linux.
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
// Stacks.
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
// A tape at an instant.
export { type MemoryBytes, Moment, type MomentTape } from "./moment/moment.js";
export { OpenTape, type OpenTapeOptions, usualBranches } from "./moment/open-tape.js";
export { type MemoryPlace, RegisterFile } from "./moment/registers.js";
export { inspectQemu, type QemuBuild } from "./qemu/build.js";
export { type NetworkChoice, parseNetwork } from "./qemu/network.js";
export { buildPlugin } from "./qemu/plugin-build.js";
export type { PluginCounts, PluginPoint, PluginPosition, PluginSelection } from "./qemu/plugin-channel.js";
export type { StateHash } from "./qemu/state-hash.js";
export { type CheckOptions, checkIndex, dropIndex, type IndexReport } from "./replay/index/check.js";
export { type IndexOptions, indexTape } from "./replay/index/tape.js";
export { TapeIndex, type TapeRow } from "./replay/index/tape-index.js";
export { keepTapeBudget } from "./replay/index/thinning.js";
// Replays.
export { checkTape } from "./replay/session/check-tape.js";
// Checkpoints and the index.
export { type Checkpoint, type CountedCheckpoint, isLostCheckpoint } from "./replay/session/checkpoint.js";
export { type ConsolePiece, consolePieces } from "./replay/session/console-position.js";
export type { Divergence } from "./replay/session/divergence.js";
export { plainReplayCommand } from "./replay/session/plain-command.js";
export {
  comparePositions,
  formatPosition,
  formatWritten,
  type Position,
  parsePosition,
  type Visit,
  type WrittenPosition,
} from "./replay/session/position.js";
export { Session, type SessionOptions, type SessionState, type Stop } from "./replay/session/session.js";
export { tapeCache } from "./replay/session/tape-cache.js";
export type {
  Access,
  Arrival,
  Breakpoint,
  Condition,
  Direction,
  Instant,
  PointId,
  StopPoint,
  Watchpoint,
} from "./replay/session/timeline-types.js";
export { type AskedBytes, type Past, pastOf, type Write } from "./replay/timeline/last-write.js";
export { type LocateOptions, locate, locateBranch } from "./replay/timeline/locate.js";
// Anywhere in time.
export { Timeline, type TimelineOptions } from "./replay/timeline/timeline.js";
export { timelineOptions } from "./replay/timeline/timeline-options.js";
export {
  type VerifiedState,
  type VerifyOptions,
  type VerifyReport,
  verifyTape,
} from "./replay/verify/verify.js";
// The run as a whole.
export { coverLog } from "./survey/tape-coverage.js";
export { tapeLevels } from "./survey/tape-levels.js";
export { windowLog } from "./survey/tape-log.js";
export { type FollowOptions, followLog } from "./survey/tape-profile.js";
export { type BtfTypes, decodeBtf } from "./symbols/btf/types.js";
export type { InlinedAt, SourcePlace } from "./symbols/debug/info.js";
export type { DebugSource, SymbolFileOptions } from "./symbols/debug/source.js";
export { demangle } from "./symbols/demangle/demangle.js";
export { DwarfFile } from "./symbols/dwarf/file.js";
export { DwarfTypes } from "./symbols/dwarf/types.js";
export { type CalledFrame, DwarfVariables, type ScopeVariable } from "./symbols/dwarf/variables.js";
export { type CompileContext, compileExpression } from "./symbols/expression/compiler.js";
export {
  type ExpressionContext,
  type ExpressionSymbol,
  evaluate,
  evaluateTruth,
  printExpression,
} from "./symbols/expression/evaluator.js";
export { parseExpression } from "./symbols/expression/parser.js";
export type { Expression } from "./symbols/expression/syntax.js";
// Types, values, expressions.
export { readElfBtf, readKernelBtf, readMemoryBtf } from "./symbols/kernel/btf-find.js";
export { type LoadedSource, loadSymbolSource } from "./symbols/names/load-source.js";
export { formatAddress, formatName, formatPlace } from "./symbols/names/symbol-format.js";
export { parseSymbolSource } from "./symbols/names/symbol-source-spec.js";
export {
  type Found,
  type FoundLine,
  type Located,
  type SymbolSource,
  Symbols,
} from "./symbols/names/symbols.js";
export { formatType } from "./symbols/types/name.js";
export { type TypeSource, Types } from "./symbols/types/set.js";
export {
  ArrayType,
  type Enumerator,
  EnumType,
  FunctionType,
  type Member,
  type Place,
  PointerType,
  QualifiedType,
  resolve as resolveType,
  StructType,
  sizeOf,
  type Type,
  TypedefType,
} from "./symbols/types/type.js";
export { type PrintContext, printValue } from "./symbols/values/print.js";
export { integerValue, loadValue, type Value, valueAt } from "./symbols/values/value.js";
// Recordings and tapes.
export { ConsoleClient, type ConsoleListener } from "./tape/console-client.js";
export type { ConsoleState } from "./tape/console-frames.js";
export type { SeatWish } from "./tape/console-seat.js";
export { ControlClient } from "./tape/control.js";
export { checkTapeName, type Places, placesFrom, tapeDirectory, tapeNames } from "./tape/home.js";
export { TapeLayout } from "./tape/layout.js";
export {
  type DiskChoice,
  defaultCpu,
  defaultRecordOptions,
  parseDisk,
  parseMemoryMB,
  parseSymbols,
  type RecordOptions,
  recordDefaults,
  type SymbolChoice,
} from "./tape/record-options.js";
export { type RecordHooks, type Recording, record, type StopReason } from "./tape/recording.js";
export { type RepairOptions, repairTape } from "./tape/repair.js";
export { destroyTape, Tape, type TapeState } from "./tape/tape.js";
export { BranchLog } from "./trace/branch-log.js";
export { appendBranchLog } from "./trace/branch-log-append.js";
export { BranchLogWriter } from "./trace/branch-log-writer.js";
export type { BranchFileInfo, BranchRange, BranchReader } from "./trace/branch-reader.js";
export { BranchVisits } from "./trace/branch-visits.js";
export { BtsFile } from "./trace/bts-file.js";
export { formatCall } from "./trace/call-text.js";
export { type CallEvent, CallTracker, type FunctionNames } from "./trace/calls.js";
export { type CollectedTrace, type CollectOptions, collectTrace, type TraceWindow } from "./trace/collect.js";
export { extractBranches } from "./trace/extract.js";
export { joinBranchLogs } from "./trace/join-logs.js";
export { openBranches } from "./trace/open-branches.js";
export { type SegmentOptions, traceWindow } from "./trace/segments.js";
export type { Coverage, CoveredLine, CoveredPiece, CoveredRange } from "./views/coverage.js";
export { type LevelCells, type LevelSum, Levels, LevelsBuilder, levelSums } from "./views/levels.js";
export {
  type CallerTotal,
  type FunctionTotal,
  Profile,
  type ProfileColumns,
  type ProfileTask,
} from "./views/profile.js";
