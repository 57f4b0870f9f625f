/// <reference types="node" preserve="true" />
/**
 * What vmtape writes and reads: tapes' manifests, replay logs, branch logs. Nothing here starts a QEMU; `docs/FORMATS.md` tells the
 * layouts.
 *
 * ```ts
 * import { dialectFor, openFileSource, summarizeLog } from "vmtape/formats";
 *
 * await using log = await openFileSource("replay.log");
 * const { state, events } = await summarizeLog(log, dialectFor("7.2.22"));
 * console.log(state, events);
 * ```
 */

export * from "./facts.js";
export { BranchBatch, type BranchKind, type BranchRecord, branchKinds } from "./formats/branch.js";
export { BranchChunkDecoder } from "./formats/branch-chunk-decoder.js";
export { BranchChunkEncoder } from "./formats/branch-chunk-encoder.js";
export type { EndCause, Manifest, ManifestEnd, StoredFile, SymbolFile } from "./formats/manifest.js";
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
