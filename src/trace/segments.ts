import { rm } from "node:fs/promises";
import { VmtapeError } from "../base/errors.js";
import type { ProgressSink } from "../base/progress.js";
import { linkedAbort } from "../base/stopping.js";
import { brctr, hex, type Icount, icount } from "../base/units.js";
import { chooseQemu } from "../qemu/choose.js";
import type { PluginPoint } from "../qemu/plugin-channel.js";
import { TapeIndex } from "../replay/index/tape-index.js";
import { checkTape } from "../replay/session/check-tape.js";
import { type CountedCheckpoint, isLostCheckpoint } from "../replay/session/checkpoint.js";
import { earliestVisit, lastBefore } from "../replay/timeline/first-visits.js";
import type { Tape } from "../tape/tape.js";
import { type CollectedTrace, type CollectOptions, collectTrace, type TraceWindow } from "./collect.js";
import { chooseCuts } from "./cuts.js";
import { joinBranchLogs } from "./join-logs.js";

export interface SegmentOptions extends Omit<CollectOptions, "from" | "trusted" | "rowsTo"> {
  /** The tape's cache (`tapeCache`), where checkpoints lie. */
  readonly cache: string;
  /** How many segments may be traced side by side. */
  readonly jobs: number;
}

export interface SegmentedTrace extends CollectedTrace {
  /** How many segments it was cut into: 1 where no checkpoint lies inside the window. */
  readonly segments: number;
}

/** One segment of a window: where its replay starts, and what it logs. */
export interface Segment {
  readonly window: TraceWindow;
  readonly from: CountedCheckpoint | undefined;
  /** Instructions it replays, for progress. */
  readonly instructions: number;
}

/**
 * Traces a window with what checkpoints there are: from the one nearest to its start, and with several jobs cut at
 * others into segments that are traced side by side and joined. The file is the same, byte for byte.
 *
 * @throws as `collectTrace`
 */
export async function traceWindow(
  tape: Tape,
  window: TraceWindow,
  options: SegmentOptions,
): Promise<SegmentedTrace> {
  const { cache, signal, qemu } = options;
  await checkTape(tape, signal);
  const index = await TapeIndex.open(cache, await chooseQemu(tape.manifest.qemu, qemu));
  for (;;) {
    try {
      return await traceFrom(tape, window, index, options);
    } catch (error) {
      if (!isLostCheckpoint(error)) throw error;
      await forgetLost(index, error); // it went just now: begin before it
    }
  }
}

/**
 * How `traceWindow` would cut a window: into `jobs` segments that take equally long, as far as checkpoints lie where they are wanted.
 *
 * ```ts
 * for (const { from, instructions } of await planSegments(tape, window, { cache, jobs: 4 })) {
 *   console.log(from?.icount ?? 0n, instructions);
 * }
 * ```
 *
 * Cost: what the cache knows is read; nothing is replayed.
 *
 * @throws as `chooseQemu`
 */
export async function planSegments(
  tape: Tape,
  window: TraceWindow,
  { cache, jobs, qemu }: Pick<SegmentOptions, "cache" | "jobs" | "qemu">,
): Promise<readonly Segment[]> {
  const index = await TapeIndex.open(cache, await chooseQemu(tape.manifest.qemu, qemu));
  return cut(tape, window, index, await beforeStart(tape, window, index, cache), jobs);
}

/** The checkpoint that a session could not start from is not used again. */
async function forgetLost(index: TapeIndex, { facts }: VmtapeError): Promise<void> {
  const lost = index.checkpoints.find((one) => one.icount === facts.checkpoint);
  if (lost) await index.drop(lost);
}

async function traceFrom(
  tape: Tape,
  window: TraceWindow,
  index: TapeIndex,
  options: SegmentOptions,
): Promise<SegmentedTrace> {
  const before = await beforeStart(tape, window, index, options.cache);
  const segments = cut(tape, window, index, before, options.output === undefined ? 1 : options.jobs);
  const [only] = segments;
  if (segments.length === 1 && only) {
    const trace = await collectTrace(tape, only.window, {
      ...options,
      rowsTo: options.cache,
      trusted: true,
      from: only.from,
    });
    return { ...trace, segments: 1 };
  }
  return traceSideBySide(tape, segments, options);
}

async function traceSideBySide(tape: Tape, segments: readonly Segment[], options: SegmentOptions) {
  const startedAt = performance.now();
  const output = options.output!;
  const parts = segments.map((_, i) => `${output}.segment-${i}-${process.pid}`);
  using stop = linkedAbort(options.signal);
  const progress = sumProgress(segments, options.onProgress);
  try {
    const traces = await Promise.all(
      segments.map(({ window, from }, i) =>
        collectTrace(tape, window, {
          ...options,
          output: parts[i]!,
          rowsTo: options.cache,
          trusted: true,
          signal: stop.signal,
          from,
          onProgress: progress?.(i),
          atEnd: i < segments.length - 1 ? async () => {} : options.atEnd,
        }).catch((error) => {
          stop.abort(); // one that fails ends the others
          throw error;
        }),
      ),
    );
    const { bytes } = await joinBranchLogs(parts, output, { signal: options.signal });
    return {
      start: traces[0]!.start,
      end: traces.at(-1)!.end,
      records: traces.reduce((sum, { records }) => sum + records, 0n),
      bytes,
      seconds: (performance.now() - startedAt) / 1000,
      segments: segments.length,
    };
  } finally {
    await Promise.all(parts.map((part) => rm(part, { force: true })));
  }
}

/** Cuts at checkpoints, so that all take as long. A window whose ends are not icounts stays whole. */
function cut(
  tape: Tape,
  window: TraceWindow,
  index: TapeIndex,
  before: CountedCheckpoint | undefined,
  jobs: number,
): Segment[] {
  const start = icountOf(window.start, tape);
  const end = icountOf(window.end, tape);
  const whole = { window: begin(window, start, before), from: before, instructions: 0 };
  if (start === undefined || end === undefined || jobs < 2) return [whole];
  // Where something was delivered, the segment before would end before that, and the one behind begin after it.
  const cuts = chooseCuts(
    index.checkpoints.filter((one) => !one.delivered),
    { start: Number(start), end: Number(end), jobs },
  );
  const bounds = [start, ...cuts.map((one) => one.icount), end];
  return bounds.slice(0, -1).map((low, i) => {
    const isLast = i === bounds.length - 2;
    const from = i === 0 ? before : cuts[i - 1];
    const until: PluginPoint = isLast ? window.end : { at: "icount", icount: bounds[i + 1]! };
    return {
      window: begin({ ...window, end: until }, low, from),
      from,
      instructions: Number(bounds[i + 1]! - (from?.icount ?? 0n)),
    };
  });
}

/**
 * The last checkpoint that is before the window's start for certain.
 *
 * @throws `not-reached` when the tape's first visits say that one of the window's places is never reached
 */
async function beforeStart(
  tape: Tape,
  { start, end }: TraceWindow,
  index: TapeIndex,
  cache: string,
): Promise<CountedCheckpoint | undefined> {
  const visited = start.at === "address" ? await earliestVisit(tape, cache, start.address) : 0;
  if (visited === "never") throw missing(tape, start, "start");
  if (start.at !== "visit" && end.at === "address") {
    if ((await earliestVisit(tape, cache, end.address)) === "never") throw missing(tape, end, "end");
  }
  switch (start.at) {
    case "address":
      return lastBefore(index.checkpoints, visited);
    case "visit": // a checkpoint with as many branches may be behind it
      return start.brctr === 0n ? undefined : index.nearestToBrctr(brctr(start.brctr - 1n));
    default:
      return index.nearest(icountOf(start, tape) ?? icount(0));
  }
}

/** As a trace says it that has run through the tape. */
function missing(tape: Tape, point: PluginPoint, which: "start" | "end"): VmtapeError {
  const place = "address" in point ? hex(point.address) : point.at;
  return new VmtapeError(
    "not-reached",
    `${place} is never reached${which === "end" ? " after the start" : ""}`,
    { file: tape.directory, which, visits: 0n, nearest: [] },
  );
}

/** The start of a segment: at once when its replay starts there. */
function begin(
  window: TraceWindow,
  start: Icount | undefined,
  from: CountedCheckpoint | undefined,
): TraceWindow {
  if (start === undefined) return window;
  return {
    ...window,
    start: start === (from?.icount ?? 0n) ? { at: "now" } : { at: "icount", icount: start },
  };
}

function icountOf(point: PluginPoint, tape: Tape): Icount | undefined {
  if (point.at === "icount") return point.icount;
  if (point.at === "now") return 0n as Icount;
  return point.at === "never" ? tape.end.at : undefined;
}

/** One report for all segments: instructions replayed of those to replay. */
function sumProgress(segments: readonly Segment[], sink: ProgressSink | undefined) {
  if (!sink) return undefined;
  const total = segments.reduce((sum, { instructions }) => sum + instructions, 0);
  const done = new Float64Array(segments.length);
  return (index: number): ProgressSink =>
    (report) => {
      done[index] = report.done - Number(segments[index]!.from?.icount ?? 0n);
      sink({ ...report, done: done.reduce((sum, part) => sum + part, 0), total });
    };
}
