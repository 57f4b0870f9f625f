/// <reference types="node" preserve="true" />
/** What every entry of the library deals in: errors, units, sources of bytes, what a call is given. */

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
