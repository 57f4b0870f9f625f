import type { OpenTape, OpenTapeOptions } from "../../moment/open-tape.js";
import { contextFor, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";
import { openForReplay } from "./open-for-replay.js";

/**
 * Opens the tape that a command names, where it says.
 *
 * @param at where its timeline is to stand; default: the tape's start
 * @param branches for commands that run back: the branch log to look into
 */
export async function openTape(
  name: string,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
  at?: string,
  branches?: OpenTapeOptions["branches"],
): Promise<OpenTape> {
  const [{ OpenTape }, { parsePosition }] = await Promise.all([
    import("../../moment/open-tape.js"),
    import("../../replay/session/position.js"),
  ]);
  if (at !== undefined) parsePosition(at); // a mistake is told before anything takes time
  const context = contextFor(flags, signal, progress);
  const tape = await openForReplay(context.places, name, flags, signal);
  return OpenTape.open(tape, { ...context, branches }, at);
}
