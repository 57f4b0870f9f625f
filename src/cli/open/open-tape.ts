import type { OpenTape } from "../../moment/open-tape.js";
import { contextFor, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";
import { openForReplay } from "./open-for-replay.js";

/**
 * Opens the tape that a command names, where it says.
 *
 * @param at where its timeline is to stand; default: the tape's start
 * @param back for commands that run back: the branch log to look into, by default NAME.branches where it is
 */
export async function openTape(
  name: string,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
  at?: string,
  back?: { readonly branches: string | undefined },
): Promise<OpenTape> {
  const [{ OpenTape }, { parsePosition }] = await Promise.all([
    import("../../moment/open-tape.js"),
    import("../../replay/session/position.js"),
  ]);
  if (at !== undefined) parsePosition(at); // a mistake is told before anything takes time
  const context = contextFor(flags, signal, progress);
  const tape = await openForReplay(context.places, name, flags, signal);
  return OpenTape.open(tape, { ...context, branches: back && (back.branches ?? "usual") }, at);
}
