import { mkdir } from "node:fs/promises";
import { fileError } from "../../base/errors.js";
import { during, type RunContext } from "../../base/run-context.js";
import { icount } from "../../base/units.js";
import { chooseQemu } from "../../qemu/choose.js";
import type { PluginChannel, PluginPosition } from "../../qemu/plugin-channel.js";
import { isTooEarly } from "../../qemu/snapshot.js";
import type { Tape } from "../../tape/tape.js";
import { type CountedCheckpoint, isLostCheckpoint } from "../session/checkpoint.js";
import { sweepCheckpoints } from "../session/checkpoint-store.js";
import { startPlugged } from "../session/plugged-session.js";
import { QuietInstants } from "../session/quiet-instants.js";
import type { Session } from "../session/session.js";
import { isGone, waitForLock } from "./lock.js";
import { type IndexLimits, IndexPlan } from "./plan.js";
import { RowKeeper } from "./rows.js";
import { closest, rowDistance } from "./spacing.js";
import { addToTable, type CountedRow, indexingLock } from "./table-file.js";
import { TapeIndex } from "./tape-index.js";
import { affordable, keepBudget } from "./thinning.js";
import { knownVisits, VisitKeeper } from "./visit-keeper.js";

export interface IndexOptions extends RunContext {
  /** The tape's cache (`tapeCache`): the table, checkpoints and first visits go there. */
  readonly cache: string;
  /** The built plugin (`buildPlugin`): it counts the branches. */
  readonly plugin: string;
  /**
   * The most checkpoints there may be. Default: as many as the budget holds, at a useful distance ({@link closest}).
   */
  readonly checkpoints?: number;
  /** Bytes that the checkpoints may take on disk. Default: {@link affordable}. */
  readonly budget?: number;
}

/** The most checkpoints of a tape where the options name no number. */
const mostCheckpoints = 4096;
/** The share of the budget that is reserved for checkpoints in stretches that replay slowly. */
const sparedForSlow = 0.15;
/** A stretch is slow when it takes `times` as long as the average of those before it, and at least `leastMs`. */
const slow = { times: 2, leastMs: 250 };
/**
 * Where a checkpoint cannot be made, it is tried again so many instructions later, then twice as many later, and so
 * on.
 */
const firstStep = 1 << 16;

/**
 * Replays a tape once, counts its branches, and leaves a table, checkpoints and first visits in its cache. What is
 * there already stays and is used; where nothing is missing, nothing is replayed. Several processes that index the
 * same tape wait for one another.
 *
 * Cost: one replay that counts, and some 60 ms a checkpoint.
 *
 * @throws `disk-full`, `not-writable`, `cancelled`; everything a replay throws. What was made until then stays.
 */
export async function indexTape(tape: Tape, options: IndexOptions): Promise<TapeIndex> {
  const { cache, signal, onProgress } = options;
  const build = await chooseQemu(tape.manifest.qemu, options.qemu);
  await mkdir(cache, { recursive: true, mode: 0o700 }).catch((error) => {
    throw fileError(error, cache, "making");
  });
  const onWait = () =>
    onProgress?.({ doing: "waiting for another index of this tape", done: 0, unit: "steps" });
  await using _only = await waitForLock(indexingLock(cache), { signal, onWait });
  await sweepCheckpoints(cache, build);
  const known = await TapeIndex.open(cache, build);
  const budget = options.budget ?? known.budget ?? (await affordable(tape, cache, known.bytes));
  await addToTable(tape, cache, { rows: [], budget });
  await keepBudget(cache, build, { budget, end: Number(tape.end.at) });
  for (;;) {
    const index = await TapeIndex.open(cache, build);
    const { to, isFull } = await knownVisits(tape, cache);
    const limits = { ...limitsOf(options, budget), ...(!isFull && { visited: to }) };
    const plan = new IndexPlan(Number(tape.end.at), index, limits);
    const from = plan.start();
    if (from === "nowhere") return index;
    try {
      await runPass(tape, plan, from, options);
      await keepBudget(cache, build, { budget, end: Number(tape.end.at) });
      await index.refresh();
      return index;
    } catch (error) {
      if (!isLostCheckpoint(error)) throw error; // it has been removed: begin at the one before it
    }
  }
}

/** A user who asks for a number of checkpoints gets it, however close together they lie. */
function limitsOf({ checkpoints }: IndexOptions, budget: number): IndexLimits {
  return checkpoints === undefined
    ? { budget, most: mostCheckpoints, least: closest, spare: budget * sparedForSlow }
    : { budget, most: checkpoints, least: 1 };
}

/** Replays from a checkpoint, or from the beginning, to the end, and makes what is missing. */
async function runPass(
  tape: Tape,
  plan: IndexPlan,
  from: CountedCheckpoint | undefined,
  options: IndexOptions,
): Promise<void> {
  const { cache, plugin, signal } = options;
  const context = during(options, "indexing", plan.end);
  await using plugged = await startPlugged(tape, { ...context, plugin, from, checkpointsTo: cache });
  const { session, channel, begun } = plugged;
  const rows = new RowKeeper(tape, cache, Number(begun.icount));
  rows.add(rowOf(begun));
  await channel.marks(BigInt(rowDistance(plan.end)), (at) =>
    rows.add({ icount: Number(at.icount), brctr: Number(at.brctr) }),
  );
  const visits = await VisitKeeper.begin(tape, cache, channel);
  const pass = new IndexPass(plan, session, channel, { rows, visits }, await QuietInstants.of(tape));
  try {
    await pass.leaveCheckpoints(Number(begun.icount), signal);
    await session.runToEnd(signal);
    const last = await channel.where();
    // QEMU may have run on until its main loop saw the machine's end.
    if (last.icount === tape.end.at) rows.add(rowOf(last));
    await visits.gather();
    await pass.settle();
    await rows.save(plan.end);
    await visits.save();
  } catch (error) {
    await pass.settle().catch(() => {});
    await rows.save(rows.last).catch(() => {});
    await visits.save().catch(() => {});
    throw error;
  }
}

/** The row for a position: its branch count without the deliveries made at its icount. */
function rowOf({ icount: at, brctr, delivered }: PluginPosition): CountedRow {
  return { icount: Number(at), brctr: Number(brctr - delivered) };
}

/** A session on its way through a tape, which makes the checkpoints of a plan. */
class IndexPass {
  private readonly plan: IndexPlan;
  private readonly session: Session;
  private readonly channel: PluginChannel;
  private readonly rows: RowKeeper;
  private readonly visits: VisitKeeper;
  private readonly quiet: QuietInstants;
  private storing: Promise<unknown> = Promise.resolve();
  private readonly startedAt = performance.now();
  private stretches = 0;

  constructor(
    plan: IndexPlan,
    session: Session,
    channel: PluginChannel,
    keepers: { readonly rows: RowKeeper; readonly visits: VisitKeeper },
    quiet: QuietInstants,
  ) {
    this.plan = plan;
    this.session = session;
    this.channel = channel;
    this.rows = keepers.rows;
    this.visits = keepers.visits;
    this.quiet = quiet;
  }

  async leaveCheckpoints(from: number, signal?: AbortSignal): Promise<void> {
    let at = from;
    for (let wanted = this.plan.nextAfter(at); wanted !== undefined; wanted = this.plan.nextAfter(at)) {
      const latest = wanted + (wanted - at) / 2;
      let isMade = false;
      for (let step = firstStep; !isMade && wanted < latest; wanted += step, step *= 2) {
        at = this.quiet.from(wanted);
        if (at >= this.plan.end) return;
        await this.travel(at, signal);
        isMade = await this.leaveOne();
        this.stretches++;
      }
    }
    const last = this.quiet.from(this.plan.end - closest / 8);
    if (last > at && last < this.plan.end) await this.travel(last, signal);
  }

  /** Runs to an icount. Where that takes long, checkpoints are made on the way. */
  private async travel(to: number, signal?: AbortSignal): Promise<void> {
    const { session, plan, quiet } = this;
    for (;;) {
      if (!plan.hasRoom()) {
        await session.runTo(icount(to), signal);
        return;
      }
      const usual = (performance.now() - this.startedAt) / Math.max(1, this.stretches);
      const patience = Math.max(slow.leastMs, slow.times * usual);
      let pausing: Promise<unknown> | undefined;
      const timer = setTimeout(() => {
        pausing = session.pause().catch(() => {}); // it has just come to its end by itself
      }, patience);
      const { at, why } = await session.runTo(icount(to), signal).finally(() => clearTimeout(timer));
      await pausing;
      if (why !== "paused") return;
      const here = quiet.from(Number(at) + 1);
      if (here >= to) continue;
      await session.runTo(icount(here), signal);
      await this.leaveOne();
    }
  }

  /** Waits until the last checkpoint is in the cache. */
  async settle(): Promise<void> {
    await this.storing;
  }

  /** Makes a checkpoint here; false when that is not possible at this instant. */
  private async leaveOne(): Promise<boolean> {
    const at = await this.channel.where();
    this.rows.add(rowOf(at));
    await this.visits.gather();
    await this.storing;
    await this.rows.saveSometimes();
    await this.visits.saveSometimes();
    const begun = await this.session.beginCheckpoint(at).catch(unlessFatal);
    if (!begun) return false;
    this.plan.add({ icount: Number(at.icount), bytes: begun.bytes });
    this.storing = begun.stored.catch(unlessFatal);
    this.storing.catch(() => {}); // its error is thrown where it is awaited
    return true;
  }
}

/**
 * Throws an error again, unless the cache was removed or no checkpoint can be made at this instant: a pass goes on
 * after these.
 */
function unlessFatal(error: unknown): undefined {
  if (!isGone(error) && !isTooEarly(error)) throw error;
}
