import type { DebugSink } from "./log.js";
import type { ProgressSink } from "./progress.js";

/** The directories vmtape works in. Passed as a value; nothing below the command line reads the environment. */
export interface Places {
  /** Where tapes live, one directory each. */
  readonly home: string;
  /** What can be made again: guests, plugins, symbol indexes. */
  readonly cache: string;
  /** Sockets of running recordings and replays. */
  readonly runtime: string;
}

/**
 * What everything that runs for a while is given by its caller, and hands on: where to work, with which QEMU, whom to tell,
 * and when to stop. Options of such calls extend it, so a context goes through all rooms as it is.
 */
export interface RunContext {
  readonly places?: Places | undefined;
  /** QEMU programs to look for the recording build in; default: the distribution's. */
  readonly qemu?: readonly string[] | undefined;
  /** Told what is done, a line at a time. */
  readonly debug?: DebugSink | undefined;
  /** Told how far it is, often. */
  readonly onProgress?: ProgressSink | undefined;
  /** Ends it within a second, with the error `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}

/** What can be stopped, and nothing else. */
export type Stoppable = Pick<RunContext, "signal">;

/** The context among some options, and none of the options. */
export function contextOf({ places, qemu, debug, onProgress, signal }: RunContext): RunContext {
  return { places, qemu, debug, onProgress, signal };
}

/**
 * The same for a part of a job: its progress goes by a name of its own.
 *
 * @param doing a short present participle, as in `ProgressReport`
 * @param total work in all, where the caller knows it better
 */
export function during(context: RunContext, doing: string, total?: number): RunContext {
  const { onProgress } = context;
  return {
    ...contextOf(context),
    onProgress:
      onProgress && ((report) => onProgress({ ...report, doing, ...(total !== undefined && { total }) })),
  };
}
