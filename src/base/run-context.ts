import type { DebugSink } from "./log.js";
import type { ProgressSink } from "./progress.js";

/** The directories vmtape works in. Passed as a value; nothing below the command line reads the environment. */
export interface Places {
  /** Where tapes live, one directory each. */
  readonly home: string;
  /** Files that can be made again: guests, plugins, indexes and checkpoints of tapes, symbol tables. */
  readonly cache: string;
  /** Sockets of running recordings and replays. */
  readonly runtime: string;
}

/**
 * What a caller gives to work that takes a while: the directories, the QEMU, receivers of messages and progress, and
 * a signal that cancels it. The options of such functions extend it, so that a context can be handed from room to
 * room unchanged.
 */
export interface RunContext {
  readonly places?: Places | undefined;
  /** QEMU programs among which the one that recorded is looked for. Default: the distribution's. */
  readonly qemu?: readonly string[] | undefined;
  /** Receives debug messages, a line at a time. */
  readonly debug?: DebugSink | undefined;
  /** Receives the progress, often. */
  readonly onProgress?: ProgressSink | undefined;
  /** Cancels the work: it ends within a second with the error `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of work that can be cancelled and needs nothing else. */
export type Stoppable = Pick<RunContext, "signal">;

/** Only the context out of some options. */
export function contextOf({ places, qemu, debug, onProgress, signal }: RunContext): RunContext {
  return { places, qemu, debug, onProgress, signal };
}

/**
 * The context for a part of a job, whose progress is reported under a name of its own.
 *
 * @param doing a short present participle, as in `ProgressReport`
 * @param total replaces the total of the reports, where the caller knows it better
 */
export function during(context: RunContext, doing: string, total?: number): RunContext {
  const { onProgress } = context;
  return {
    ...contextOf(context),
    onProgress:
      onProgress && ((report) => onProgress({ ...report, doing, ...(total !== undefined && { total }) })),
  };
}
