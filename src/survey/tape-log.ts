import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { type Icount, icount } from "../base/units.js";
import type { Tape } from "../tape/tape.js";
import { BranchLog } from "../trace/branch-log.js";
import { type SegmentOptions, traceWindow } from "../trace/segments.js";

export interface TapeLogOptions extends Omit<SegmentOptions, "output"> {
  /** A branch log of the tape, made before. */
  readonly file?: string | undefined;
}

/** A branch log that is open, and goes when it was made for this alone. */
export interface OpenLog extends AsyncDisposable {
  readonly log: BranchLog;
}

/**
 * The branches of a window: from a file that is named, from the one in the tape's cache, or by a replay of the window. A
 * replay of the whole tape leaves its log in the cache.
 *
 * @throws as `BranchLog.open` and `traceWindow`
 */
export async function windowLog(
  tape: Tape,
  window: { readonly from: Icount; readonly to: Icount },
  options: TapeLogOptions,
): Promise<OpenLog> {
  const { id } = tape.manifest;
  if (options.file !== undefined) return opened(await BranchLog.open(options.file, { tape: id }));
  const kept = join(options.cache, "whole.branches");
  const known = await BranchLog.open(kept, { tape: id }).catch((error) => {
    if (!isVmtapeError(error)) throw error;
    return undefined;
  });
  if (known?.info.whole) return opened(known);
  await known?.close();
  const isWhole = window.from === 0n && window.to === tape.end.at;
  await mkdir(options.cache, { recursive: true });
  const output = isWhole ? kept : join(options.cache, `window-${process.pid}-${window.from}.branches`);
  if (window.from === window.to)
    throw new VmtapeError("not-found", "the window is empty: nothing runs in it");
  try {
    await traceWindow(
      tape,
      {
        start: window.from === 0n ? { at: "now" } : { at: "icount", icount: window.from },
        end: isWhole ? { at: "never" } : { at: "icount", icount: icount(window.to) },
        selection: "all",
      },
      { ...options, output },
    );
    return opened(await BranchLog.open(output, { tape: id }), isWhole ? undefined : output);
  } catch (error) {
    await rm(output, { force: true });
    throw error;
  }
}

function opened(log: BranchLog, remove?: string): OpenLog {
  return {
    log,
    async [Symbol.asyncDispose]() {
      await log.close();
      if (remove !== undefined) await rm(remove, { force: true });
    },
  };
}
