import { VmtapeError } from "../../base/errors.js";
import type { Icount } from "../../base/units.js";
import type { Tape } from "../../tape/tape.js";
import { placesOf, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";
import { icountOf } from "./locate-icount.js";

/** A complete tape, and a stretch of it. */
export interface TapeRange {
  readonly tape: Tape;
  readonly from: Icount;
  readonly to: Icount;
}

/**
 * Opens a tape and finds a stretch of it. Malformed positions are reported before anything takes time.
 *
 * @param start default: the tape's
 * @param end default: the tape's
 * @throws `not-reached` when the end lies before the start
 */
export async function openRange(
  name: string,
  [start = "start", end = "end"]: readonly (string | undefined)[],
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<TapeRange> {
  const [{ parsePosition }, { Tape }] = await Promise.all([
    import("../../replay/session/position.js"),
    import("../../tape/tape.js"),
  ]);
  const written = [parsePosition(start), parsePosition(end)] as const;
  const tape = await Tape.open(placesOf(flags), name, flags.dir);
  tape.requireComplete();
  const from = await icountOf(tape, written[0], flags, progress, signal);
  const to = await icountOf(tape, written[1], flags, progress, signal);
  if (to < from) throw new VmtapeError("not-reached", `the end (@${to}) lies before the start (@${from})`);
  return { tape, from, to };
}
