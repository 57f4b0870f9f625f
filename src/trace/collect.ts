import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError, isVmtapeError, VmtapeError } from "../base/errors.js";
import { during, type RunContext } from "../base/run-context.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";
import { type Brctr, hex } from "../base/units.js";
import type { BranchSelection } from "../formats/branch-log-layout.js";
import type {
  PluginChannel,
  PluginEnd,
  PluginPoint,
  PluginPosition,
  PluginSelection,
} from "../qemu/plugin-channel.js";
import { RowKeeper } from "../replay/index/rows.js";
import { rowDistance } from "../replay/index/spacing.js";
import type { Checkpoint } from "../replay/session/checkpoint.js";
import { startPlugged } from "../replay/session/plugged-session.js";
import type { Session, SessionOptions } from "../replay/session/session.js";
import type { Tape } from "../tape/tape.js";
import { WindowLog } from "./window-log.js";

/** From where to where a tape is traced. */
export interface TraceWindow {
  readonly start: PluginPoint;
  readonly end: PluginPoint;
  readonly selection?: BranchSelection & PluginSelection;
}

export interface CollectOptions extends RunContext, Pick<SessionOptions, "trusted"> {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Where the log goes; none: records are counted only, which costs less where all are (selection `all`). */
  readonly output?: string | undefined;
  /** Begin the replay here; it must know its brctr, and not lie behind the window's start. */
  readonly from?: (Checkpoint & { readonly brctr: Brctr }) | undefined;
  /** Leave rows of the tape's index in this cache of it (`tapeCache`) in passing. */
  readonly rowsTo?: string;
  /** Called with the machine paused at or shortly after the window's end, before it is ended. */
  readonly atEnd?: ((session: Session) => Promise<void>) | undefined;
}

/** What was traced. */
export interface CollectedTrace {
  readonly start: PluginPosition;
  readonly end: PluginPosition;
  readonly records: bigint;
  /** Bytes of the log file; 0 when records were counted only. */
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Replays a tape and writes the branch log of a window of it: XenTT's `trace_task`, finished. One pass, from the
 * tape's beginning or a checkpoint to the window's end.
 *
 * @throws `not-reached` when the start or the end never comes, with the nearest visits; `diverged`, `qemu-failed`,
 *   `inexact`, `disk-full`, `not-writable`, `cancelled`: there is then no file
 */
export async function collectTrace(
  tape: Tape,
  window: TraceWindow,
  options: CollectOptions,
): Promise<CollectedTrace> {
  const startedAt = performance.now();
  const { plugin, trusted, from, output } = options;
  if (output !== undefined) await requireWritable(output);
  await using plugged = await startPlugged(tape, { ...during(options, "tracing"), plugin, trusted, from });
  const { session, channel, begun } = plugged;
  const rows = await keepRows(tape, channel, begun, options.rowsTo);
  const countsAll = output === undefined && (window.selection ?? "all") === "all";
  await channel.openWindow(window.start, window.end, countsAll ? "none" : window.selection);
  const run = new TraceRun(tape, window, session, channel, options);
  const { end, bytes } = await run.whole();
  await rows?.save(rows.last).catch(() => {}); // a cache that takes none holds none
  const start = channel.reachedAt("start")!;
  if (end.icount < start.icount) {
    throw new VmtapeError(
      "not-reached",
      `the end (${describePoint(window.end)}) comes before the start at @${start.icount}`,
    );
  }
  const reached = channel.reachedAt("end") ?? {
    ...{ icount: end.icount, brctr: end.brctr, pc: undefined },
    ...{ rep: 0n, delivered: 0n, origin: undefined, originRep: 0n },
  };
  const seconds = (performance.now() - startedAt) / 1000;
  const records = countsAll ? reached.brctr - start.brctr : end.records;
  return { start, end: reached, records, bytes, seconds };
}

async function keepRows(
  tape: Tape,
  channel: PluginChannel,
  begun: PluginPosition,
  cache: string | undefined,
): Promise<RowKeeper | undefined> {
  if (cache === undefined) return undefined;
  const rows = new RowKeeper(tape, cache, Number(begun.icount));
  await channel.marks(BigInt(rowDistance(Number(tape.end.at))), (at) => {
    rows.add({ icount: Number(at.icount), brctr: Number(at.brctr) });
  });
  return rows;
}

/** Known before a long replay, not after it. */
async function requireWritable(output: string): Promise<void> {
  const facts = await stat(output).catch(() => undefined);
  if (facts?.isDirectory()) throw new VmtapeError("bad-file", `${output} is a directory`, { file: output });
  const written = facts && !facts.isFile() ? output : dirname(output); // a pipe or device is written to itself
  await access(written, constants.W_OK).catch((error) => {
    throw fileError(error, output, "writing");
  });
}

/** The machine runs, chunks come, and both must end well. */
class TraceRun {
  private readonly tape: Tape;
  private readonly window: TraceWindow;
  private readonly session: Session;
  private readonly channel: PluginChannel;
  private readonly options: CollectOptions;
  /** Ends the watch over the machine: the window's end was reached, or something failed. */
  private readonly enough = new AbortController();
  private streamFailed = false;

  constructor(
    tape: Tape,
    window: TraceWindow,
    session: Session,
    channel: PluginChannel,
    options: CollectOptions,
  ) {
    this.tape = tape;
    this.window = window;
    this.session = session;
    this.channel = channel;
    this.options = options;
  }

  async whole(): Promise<{ end: PluginEnd; bytes: number }> {
    const stop = () => this.enough.abort();
    using _stopped = whenAborted(this.options.signal, stop);
    const { output } = this.options;
    await using log = new WindowLog(this.channel, this.window, output, {
      tape: this.tape.manifest.id,
      qemu: this.tape.manifest.qemu.fullVersion,
      signal: this.options.signal,
    });
    const read = log.read();
    const watched = this.watch();
    read.then(stop, (error) => {
      this.streamFailed = true;
      // A stream that breaks off means that QEMU is dying: the watch will say of what.
      if (!isVmtapeError(error, "qemu-failed")) stop();
    });
    watched.catch(() => this.session.stop()); // else the stream goes on for as long as the machine does
    const [machine, stream] = await Promise.allSettled([watched, read]);
    if (machine.status === "rejected") throw machine.reason;
    if (stream.status === "rejected") throw stream.reason;
    return { end: stream.value, bytes: await log.finish(stream.value) };
  }

  /** Lets the machine run to the window's end or the tape's. */
  private async watch(): Promise<void> {
    const { session, options, channel } = this;
    const { signal } = this.enough;
    await session.resume();
    const ended = await session.follow(signal).then(
      () => true,
      (error) => {
        if (signal.aborted) return false;
        throw error;
      },
    );
    throwIfAborted(options.signal);
    if (this.streamFailed) return; // the guest waits for a reader that is gone: it cannot even pause
    if (ended) await channel.closeWindow();
    else await session.pause();
    await channel.where(); // QEMU ends with an error when the plugin's count is not its own
    await options.atEnd?.(session);
    if (ended && this.wasMissed()) await this.failMissed();
  }

  private wasMissed(): boolean {
    const { channel, window } = this;
    return (
      channel.reachedAt("start") === undefined || (window.end.at !== "never" && !channel.reachedAt("end"))
    );
  }

  /** The tape is over, and a point was not met: QEMU's exit tells how near it came. */
  private async failMissed(): Promise<never> {
    const { channel, session, window, tape } = this;
    await session.quit();
    await channel.closed;
    const which = channel.reachedAt("start") ? "end" : "start";
    const visits = channel.visits(which);
    const point = window[which];
    const nearest = [visits?.before, visits?.after].filter((one) => one !== undefined);
    const places = nearest.map(({ brctr, icount }) => `${placeOf(point)}:${brctr} @${icount}`);
    const hint = places.length > 0 ? `; the nearest visits: ${places.join(" and ")}` : "";
    throw new VmtapeError(
      "not-reached",
      `${describePoint(point)} is never reached${missedWhy(which, point, visits?.count)}${hint}`,
      {
        file: tape.directory,
        which,
        visits: visits?.count,
        nearest: nearest.map(({ brctr, icount }) => ({ brctr, icount })),
      },
    );
  }
}

function describePoint(point: PluginPoint): string {
  switch (point.at) {
    case "icount":
      return `icount ${point.icount}`;
    case "address":
      return placeOf(point);
    case "visit":
      return `${placeOf(point)}:${point.brctr}${point.rep > 0n ? `/${point.rep}` : ""}`;
    default:
      return point.at;
  }
}

function placeOf(point: PluginPoint): string {
  return "address" in point ? hex(point.address) : point.at;
}

function missedWhy(which: "start" | "end", point: PluginPoint, visits = 0n): string {
  if (point.at === "visit")
    return visits === 0n
      ? ": its address is never run"
      : `: its address is run ${visits} times, but not then`;
  return which === "end" ? " after the start" : "";
}
