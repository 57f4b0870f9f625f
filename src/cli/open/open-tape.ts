import type { OpenTape, OpenTapeOptions } from "../../moment/open-tape.js";
import { contextFor, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";
import { openForReplay } from "./open-for-replay.js";

/**
 * Opens the tape that a command names, with its timeline.
 *
 * @param at the position where the timeline is to stand; default: the tape's start
 * @param branches for commands that run back: the branch log in which they look
 */
export async function openTape(
  name: string,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
  at?: string,
  more: Pick<OpenTapeOptions, "branches" | "filmBytes"> = {},
): Promise<OpenTape> {
  const [{ OpenTape }, { parsePosition }] = await Promise.all([
    import("../../moment/open-tape.js"),
    import("../../replay/session/position.js"),
  ]);
  if (at !== undefined) parsePosition(at); // a mistake is reported before anything takes time
  const context = contextFor(flags, signal, progress);
  const tape = await openForReplay(context.places, name, flags, signal);
  return OpenTape.open(tape, { ...context, ...more }, at);
}
