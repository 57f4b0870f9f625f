import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import { type Brctr, brctr, type GuestAddress, type Icount, icount } from "../base/units.js";
import { BranchBatch } from "../formats/branch.js";
import { isDense } from "../formats/branch-log-layout.js";
import type { Visit, VisitLog } from "../replay/timeline/visit-log.js";
import { BranchLog } from "./branch-log.js";
import { type FirstRecord, VisitFilters } from "./visit-filters.js";

/** Records that are looked at together. */
const batchRecords = 1 << 15;

/**
 * A branch log as a memory of where a tape has been. A stretch of instructions begins where a branch leads to and ends
 * where the next one, or an interrupt or fault, comes from; an address that lies between may have been executed.
 */
export class BranchVisits implements VisitLog, AsyncDisposable {
  readonly start: { readonly brctr: Brctr; readonly icount: Icount };
  readonly end: { readonly brctr: Brctr; readonly icount: Icount };
  private readonly log: BranchLog;
  private readonly batch = new BranchBatch(batchRecords);
  private readonly filters: VisitFilters;
  private readonly cacheFile: string | undefined;

  private constructor(
    log: BranchLog,
    first: { readonly brctr: Brctr; readonly icount: Icount },
    cacheFile: string | undefined,
  ) {
    const { end, bytes, records, chunks } = log.info;
    this.filters = new VisitFilters([bytes, records, chunks]);
    this.cacheFile = cacheFile;
    this.log = log;
    this.start = first;
    this.end = { brctr: end.brctr, icount: end.icount! };
  }

  /**
   * Opens a branch log to look back in.
   *
   * @param tape the UUID of the tape it must belong to
   * @param cacheFile where to keep what was learned of it for the next time
   * @returns undefined when it cannot tell: it has no records, leaves some out, or is damaged
   * @throws `bad-file` when it is no branch log of this tape; `unsupported`
   */
  static async open(path: string, tape: string, cacheFile?: string): Promise<BranchVisits | undefined> {
    const log = await BranchLog.open(path, { tape });
    try {
      const { records, whole } = log.info;
      // What lies before the first record has no beginning that is known.
      const batch = new BranchBatch(1);
      if (
        whole &&
        records > 1 &&
        isDense(log.header) &&
        (await log.readAt(log.info.start.brctr, batch)) === 1
      ) {
        const first = { brctr: brctr(batch.first + 1), icount: icount(batch.icount[0]!) };
        const visits = new BranchVisits(log, first, cacheFile);
        if (cacheFile !== undefined) await visits.filters.load(cacheFile);
        return visits;
      }
    } catch (error) {
      await log.close();
      throw error;
    }
    await log.close();
    return undefined;
  }

  async lastVisit(
    addresses: readonly GuestAddress[],
    before: Brctr,
    signal?: AbortSignal,
  ): Promise<Visit | undefined> {
    const { log } = this;
    const wanted = wordsOf(addresses);
    let limit = Math.min(Number(before), Number(this.end.brctr));
    if (limit < Number(this.start.brctr)) return undefined;
    // The stretch from record limit - 1 on ends with record `limit`, wherever that is.
    let following = await this.recordAt(limit);
    for (let number = await log.chunkAt(limit - 1); number >= 0; number--) {
      throwIfAborted(signal);
      const { firstBrctr } = await log.chunkEntry(number);
      const known = this.filters.without(number, wanted);
      const found = known
        ? { visit: undefined, first: known }
        : await this.lastIn(number, firstBrctr, limit, wanted, following);
      if (found.visit) return found.visit;
      following = found.first;
      limit = firstBrctr;
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.cacheFile !== undefined) await this.filters.save(this.cacheFile);
    await this.log.close();
  }

  /** The last stretch that begins with one of the records `[first, limit)` and ends with one of them, or `following`. */
  private async lastIn(
    number: number,
    first: number,
    limit: number,
    wanted: Uint32Array,
    following: FirstRecord,
  ): Promise<{ readonly visit: Visit | undefined; readonly first: FirstRecord }> {
    const { batch, log } = this;
    // Only of a whole chunk something can be kept.
    const isWhole = limit === (await this.chunkEnd(number));
    const filter = isWhole ? this.filters.begin(number) : undefined;
    let visit: Visit | undefined;
    let begin: FirstRecord | undefined;
    let toLow = 0;
    let toHigh = 0;
    let since = -1;
    let at = first;
    for (await log.seek(first); at < limit && (await log.read(batch)) > 0; ) {
      const { fromWords, toWords, icount: counts } = batch;
      const length = Math.min(batch.length, limit - at);
      begin ??= { low: fromWords[0]!, high: fromWords[1]!, icount: counts[0]! };
      for (let i = 0; i < length; i++) {
        const low = fromWords[i * 2]!;
        const high = fromWords[i * 2 + 1]!;
        if (since >= 0) filter?.add(toLow, toHigh, low, high);
        if (since >= 0 && holds(wanted, toLow, toHigh, low, high)) {
          visit = { from: icount(since), to: icount(counts[i]!), brctr: brctr(at + i) };
        }
        toLow = toWords[i * 2]!;
        toHigh = toWords[i * 2 + 1]!;
        since = counts[i]!;
      }
      at += length;
    }
    if (since >= 0 && holds(wanted, toLow, toHigh, following.low, following.high)) {
      visit = { from: icount(since), to: icount(Math.max(following.icount, since)), brctr: brctr(limit) };
    }
    if (filter && begin && at === limit) {
      filter.add(toLow, toHigh, following.low, following.high);
      this.filters.keep(number, filter, begin);
    }
    return { visit, first: begin ?? following };
  }

  /** brctr of the first record behind a chunk. */
  private async chunkEnd(number: number): Promise<number> {
    if (number + 1 >= this.log.chunkCount) return Number(this.end.brctr);
    return (await this.log.chunkEntry(number + 1)).firstBrctr;
  }

  /** Where the stretch before a record ends; behind the last record anywhere. */
  private async recordAt(place: number): Promise<FirstRecord> {
    const one = new BranchBatch(1);
    if (place < Number(this.end.brctr) && (await this.log.readAt(place, one)) === 1) {
      return { low: one.fromWords[0]!, high: one.fromWords[1]!, icount: one.icount[0]! };
    }
    return { low: 0xffff_ffff, high: 0xffff_ffff, icount: Number(this.end.icount) };
  }
}

/** Does any of the addresses lie in [to, from]? */
function holds(wanted: Uint32Array, toLow: number, toHigh: number, low: number, high: number): boolean {
  for (let i = 0; i < wanted.length; i += 2) {
    const wantedLow = wanted[i]!;
    const wantedHigh = wanted[i + 1]!;
    const begun = toHigh < wantedHigh || (toHigh === wantedHigh && toLow <= wantedLow);
    if (begun && (high > wantedHigh || (high === wantedHigh && low >= wantedLow))) return true;
  }
  return false;
}

function wordsOf(addresses: readonly GuestAddress[]): Uint32Array {
  return new Uint32Array(BigUint64Array.from(addresses).buffer);
}

/**
 * The branch log to look back in for a tape: the one that is named, else `NAME.branches` here, where it fits.
 *
 * @param cacheFile see `BranchVisits.open`
 * @throws for a named one what opening it throws, and `bad-file` when it leaves branches out
 */
export async function openVisits(
  named: string | undefined,
  name: string,
  tape: string,
  cacheFile?: string,
): Promise<BranchVisits | undefined> {
  const file = named ?? `${name}.branches`;
  try {
    const visits = await BranchVisits.open(file, tape, cacheFile);
    if (visits || named === undefined) return visits;
  } catch (error) {
    const isUnfit = isVmtapeError(error, "bad-file") || isVmtapeError(error, "unsupported");
    if (named === undefined && isUnfit) return undefined;
    throw error;
  }
  throw new VmtapeError("bad-file", `${file} does not hold every branch between its ends`, { file });
}
