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

export * from "./facts.js";
export * from "./formats.js";
export * from "./gdb.js";
// Guests and QEMU.
export { type Addition, parseAddition } from "./guest/addition.js";
export { type Guest, type GuestOptions, makeGuest } from "./guest/guest.js";
export type { LastChange } from "./linux/context/last-change.js";
// A tape at an instant.
export { type Inspection, ShownValue } from "./linux/context/shown-value.js";
export * from "./linux.js";
export { type MemoryBytes, Moment, type MomentTape } from "./moment/moment.js";
export { OpenTape, type OpenTapeOptions } from "./moment/open-tape.js";
export { type MemoryPlace, RegisterFile } from "./moment/registers.js";
export { inspectQemu, type QemuBuild } from "./qemu/build.js";
export { type NetworkChoice, parseNetwork } from "./qemu/network.js";
export { buildPlugin } from "./qemu/plugin-build.js";
export type { PluginCounts, PluginPoint, PluginPosition, PluginSelection } from "./qemu/plugin-channel.js";
export type { StateHash } from "./qemu/state-hash.js";
export { Film } from "./replay/film/film.js";
export type {
  FilmAccess,
  FilmCode,
  FilmColumns,
  FilmDoubt,
  RegisterStep,
} from "./replay/film/model.js";
export type { MemoryTouch, RegisterChange, Step } from "./replay/film/step.js";
export type { StepsOptions } from "./replay/film/steps.js";
export { type TakeOptions, takeFilm } from "./replay/film/take.js";
export { type CheckOptions, checkIndex, dropIndex, type IndexReport } from "./replay/index/check.js";
export { type IndexOptions, indexTape } from "./replay/index/tape.js";
export { TapeIndex, type TapeRow } from "./replay/index/tape-index.js";
export { keepTapeBudget } from "./replay/index/thinning.js";
// Replays.
export { checkTape } from "./replay/session/check-tape.js";
// Checkpoints and the index.
export { type Checkpoint, type CountedCheckpoint, isLostCheckpoint } from "./replay/session/checkpoint.js";
export { type ConsolePiece, consolePieces } from "./replay/session/console-position.js";
export { CountedSession, type CountedSessionOptions, type Shot } from "./replay/session/counted-session.js";
export type { Divergence } from "./replay/session/divergence.js";
export { plainReplayCommand } from "./replay/session/plain-command.js";
export {
  comparePositions,
  formatPosition,
  formatWritten,
  type Position,
  type PositionJson,
  parsePosition,
  positionToJson,
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
export type { FilmOptions } from "./replay/timeline/film-shelf.js";
export { type AskedBytes, type Past, pastOf, type Write } from "./replay/timeline/last-write.js";
export { type LocateOptions, locate, locateBranch } from "./replay/timeline/locate.js";
// Anywhere in time.
export { type StepRange, stepRange } from "./replay/timeline/motion.js";
export { Timeline, type TimelineOptions } from "./replay/timeline/timeline.js";
export type { TimelineEvents } from "./replay/timeline/timeline-events.js";
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
export * from "./symbols.js";
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
// Branches: collect, open, seek, read, convert.
export { BranchLog } from "./trace/branch-log.js";
export { appendBranchLog } from "./trace/branch-log-append.js";
export { BranchLogWriter } from "./trace/branch-log-writer.js";
export type { BranchFileInfo, BranchRange, BranchReader } from "./trace/branch-reader.js";
export { BranchVisits } from "./trace/branch-visits.js";
export { BtsFile } from "./trace/bts-file.js";
export { formatCall } from "./trace/call-text.js";
export {
  type CallEvent,
  type CallEventsOptions,
  CallTracker,
  callEvents,
  type FunctionNames,
} from "./trace/calls.js";
export { type CollectedTrace, type CollectOptions, collectTrace, type TraceWindow } from "./trace/collect.js";
export { extractBranches } from "./trace/extract.js";
export { joinBranchLogs } from "./trace/join-logs.js";
export { openBranches } from "./trace/open-branches.js";
export { planSegments, type Segment, type SegmentOptions, traceWindow } from "./trace/segments.js";
export type { Coverage, CoveredLine, CoveredPiece, CoveredRange } from "./views/coverage.js";
export { type LevelCells, type LevelSum, Levels, LevelsBuilder, levelSums } from "./views/levels.js";
export {
  type CallerTotal,
  type FunctionTotal,
  Profile,
  type ProfileColumns,
  type ProfileTask,
} from "./views/profile.js";
