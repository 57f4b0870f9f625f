import type { ProgressSink } from "../base/progress.js";
import type { TapeSymbols } from "../linux/tape-symbols.js";
import { chooseQemu } from "../qemu/choose.js";
import { buildPlugin } from "../qemu/plugin-build.js";
import { countedCheckpoints } from "../replay/checkpoint.js";
import { tapeCache } from "../replay/tape-cache.js";
import { Timeline, type TimelineOptions } from "../replay/timeline.js";
import type { Places } from "../tape/home.js";
import type { Tape } from "../tape/tape.js";
import { debugSink, qemuCandidates, type TapeOptions } from "./options.js";

/** A timeline, and the options it was opened with, which finding positions needs again. */
export interface OpenTimeline extends AsyncDisposable {
  readonly timeline: Timeline;
  readonly options: TimelineOptions;
}

/** Opens a timeline of a complete tape, with the checkpoints there are. */
export async function openTimeline(
  places: Places,
  tape: Tape,
  flags: TapeOptions,
  onProgress: ProgressSink,
  signal: AbortSignal,
): Promise<OpenTimeline> {
  const qemu = qemuCandidates(flags);
  const cache = tapeCache(places, tape);
  const build = await chooseQemu(tape.manifest.qemu, qemu);
  const options: TimelineOptions = {
    plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version }),
    checkpoints: () => countedCheckpoints(cache, { build }),
    cache,
    qemu,
    onProgress,
    ...debugSink(flags),
  };
  const timeline = await Timeline.open(tape, options, signal);
  return { timeline, options, [Symbol.asyncDispose]: () => timeline[Symbol.asyncDispose]() };
}

/** The names of the tape's guest. */
export async function loadSymbols(
  places: Places,
  tape: Tape,
  flags: TapeOptions,
  onProgress: ProgressSink,
  signal: AbortSignal,
): Promise<TapeSymbols> {
  const { TapeSymbols } = await import("../linux/tape-symbols.js");
  const cache = tapeCache(places, tape);
  return TapeSymbols.load(tape, {
    cache,
    qemu: qemuCandidates(flags),
    onProgress,
    signal,
    ...debugSink(flags),
  });
}
