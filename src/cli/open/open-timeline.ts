import { join } from "node:path";
import { printable } from "../../base/printable.js";
import type { TapeSymbols } from "../../linux/names/tape-symbols.js";
import { formatPosition, type Position, parsePosition } from "../../replay/session/position.js";
import type { Instant } from "../../replay/session/timeline-types.js";
import { type LocateOptions, locate } from "../../replay/timeline/locate.js";
import type { Timeline } from "../../replay/timeline/timeline.js";
import type { Tape } from "../../tape/tape.js";
import { contextFor, placesOf, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";
import { openForReplay } from "./open-for-replay.js";

/** A tape opened to look around in, with its names. */
export interface OpenTimeline extends AsyncDisposable {
  readonly tape: Tape;
  readonly timeline: Timeline;
  readonly symbols: TapeSymbols;
  /** The tape's cache. */
  readonly cache: string;
  /** What the timeline was opened with. */
  readonly options: LocateOptions;
  /** The instant a written position means. */
  locate(text: string, signal?: AbortSignal): Promise<Instant>;
  /** A position as it is printed, its place by name. */
  describe(position: Position): string;
}

/**
 * Opens a tape at its start, with everything its commands need.
 *
 * @param back for commands that run back: the branch log to look into, by default NAME.branches where it is
 */
export async function openTimeline(
  name: string,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
  back?: { readonly branches: string | undefined },
): Promise<OpenTimeline> {
  const [{ timelineOptions }, { Timeline }, { TapeSymbols }] = await Promise.all([
    import("../../replay/timeline/timeline-options.js"),
    import("../../replay/timeline/timeline.js"),
    import("../../linux/names/tape-symbols.js"),
  ]);
  const places = placesOf(flags);
  const tape = await openForReplay(places, name, flags, signal);
  const options = await timelineOptions(places, tape, {
    ...contextFor(flags, undefined, progress),
  });
  const { cache } = options;
  const visits = back && (await visitsOf(tape, back.branches, cache));
  const close = async () => {
    await timeline?.[Symbol.asyncDispose]();
    await visits?.[Symbol.asyncDispose]();
  };
  let timeline: Timeline | undefined;
  try {
    timeline = await Timeline.open(tape, { ...options, visits }, signal);
    const symbols = await TapeSymbols.load(tape, { ...options, signal });
    return {
      tape,
      timeline,
      symbols,
      cache,
      options,
      locate: (text, ends) =>
        locate(tape, parsePosition(text), {
          ...options,
          addressOf: (symbol) => symbols.addressOf(symbol),
          signal: ends ?? signal,
        }),
      describe: (position) => describe(position, symbols),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function visitsOf(tape: Tape, named: string | undefined, cache: string) {
  const { openVisits } = await import("../../trace/branch-visits.js");
  return openVisits(named, tape.name, tape.manifest.id, join(cache, "visits"));
}

function describe(position: Position, symbols: TapeSymbols): string {
  return printable(formatPosition(position, symbols.describe(position.pc)));
}
