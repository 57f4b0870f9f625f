import { type BranchBatch, isDelivery } from "./branch.js";
import type { ChunkHeader } from "./branch-log-layout.js";
import { BranchWalkDecoder } from "./branch-walk-decoder.js";

/**
 * Decodes chunks, one after another, into batches. Memory depends on the chunk's number of symbols, whatever a
 * hostile payload says: at most 200 bytes for each record its header has. About 100 M records a second.
 */
export class BranchChunkDecoder {
  private readonly decoder = new BranchWalkDecoder();
  private header: ChunkHeader | undefined;
  /** How much of the walk was given out. */
  private walked = 0;
  /** Were records left out of the chunk? */
  private sparse = false;
  /** icount and brctr of the last record given out: an array, for a field would be allocated at each change. */
  private readonly counts = new Float64Array(2);

  /** Records of the chunk that were not yet given out. */
  get remaining(): number {
    return this.header === undefined ? 0 : this.header.records - this.walked;
  }

  /**
   * Begins a chunk.
   *
   * @param payload copied; its length and checksum were checked against the header
   * @param file named in errors
   */
  start(header: ChunkHeader, payload: Uint8Array, file: string): void {
    this.header = undefined;
    this.decoder.start(header, payload, file);
    this.header = header;
    this.walked = 0;
    this.sparse = header.lastBrctr - header.firstBrctr + 1 !== header.records;
    this.counts[0] = header.firstIcount;
    this.counts[1] = header.firstBrctr - 1;
  }

  /**
   * Decodes records into a batch, after those it holds, until it is full or the chunk ends.
   *
   * @returns how many records that were
   * @throws `bad-file` when the payload does not say what its header says
   */
  read(batch: BranchBatch): number {
    const wanted = Math.min(this.remaining, batch.capacity - batch.length);
    for (let left = wanted; left > 0; ) {
      if (this.walked === this.decoder.decoded) this.decoder.step();
      const part = Math.min(left, this.decoder.decoded - this.walked);
      this.give(batch, part);
      left -= part;
    }
    if (wanted > 0 && this.remaining === 0) this.finish();
    return wanted;
  }

  /** Passes over the records whose brctr is below `limit`. About 90 M a second. */
  skipToBrctr(limit: number): void {
    this.skip(limit, Number.POSITIVE_INFINITY);
  }

  /**
   * Passes over the records made before the instant when `executed` instructions had been executed: those with a
   * lower icount, and the transfer by the last of these instructions. An interrupt or a fault that was delivered
   * at that count comes after the instant.
   */
  skipToIcount(executed: number): void {
    this.skip(Number.POSITIVE_INFINITY, executed);
  }

  private skip(brctrLimit: number, executed: number): void {
    if (this.remaining === 0) return;
    for (;;) {
      if (this.walked === this.decoder.decoded) this.decoder.step();
      const { counts } = this;
      const { walk, decoded, symbols } = this.decoder;
      const { icountStep, brctrGap, kind } = symbols;
      let at = this.walked;
      let icount = counts[0]!;
      let brctr = counts[1]!;
      for (; at < decoded; at++) {
        const symbol = walk[at]!;
        const nextIcount = icount + icountStep[symbol]!;
        const nextBrctr = brctr + brctrGap[symbol]! + 1;
        if (nextBrctr >= brctrLimit) break;
        if (nextIcount >= executed && (nextIcount > executed || isDelivery(kind[symbol]!))) break;
        icount = nextIcount;
        brctr = nextBrctr;
      }
      this.walked = at;
      counts[0] = icount;
      counts[1] = brctr;
      if (at < decoded) return;
      if (this.remaining === 0) break;
    }
    this.finish();
  }

  /** brctr of the next record; undefined at the chunk's end. */
  peek(): number | undefined {
    if (this.remaining === 0) return undefined;
    const { decoder } = this;
    if (this.walked === decoder.decoded) decoder.step();
    return this.counts[1]! + decoder.symbols.brctrGap[decoder.walk[this.walked]!]! + 1;
  }

  /**
   * Looks up the fields of the next `count` symbols of the walk. The bigints are only moved from one typed array to
   * another, which V8 does without making any: twice as fast as moving pairs of u32.
   */
  private give(batch: BranchBatch, count: number): void {
    const { counts, walked } = this;
    const { walk } = this.decoder;
    const { wideAddresses, kind, icountStep } = this.decoder.symbols;
    const { from, to, kind: kinds, icount: icounts } = batch;
    const start = batch.length;
    let icount = counts[0]!;
    for (let i = 0; i < count; i++) {
      const symbol = walk[walked + i]!;
      const out = start + i;
      from[out] = wideAddresses[symbol << 1]!;
      to[out] = wideAddresses[(symbol << 1) + 1]!;
      kinds[out] = kind[symbol]!;
      icount += icountStep[symbol]!;
      icounts[out] = icount;
    }
    counts[0] = icount;
    const first = counts[1]! + 1;
    if (this.sparse || batch.sparse || (start > 0 && first !== batch.first + start)) {
      this.giveBrctr(batch, count);
    } else {
      if (start === 0) batch.first = first;
      counts[1] = first + count - 1;
    }
    batch.length = start + count;
    this.walked += count;
  }

  /** The brctr of each record, where they do not just run on. */
  private giveBrctr(batch: BranchBatch, count: number): void {
    const { counts, walked } = this;
    const { walk } = this.decoder;
    const { brctrGap } = this.decoder.symbols;
    const { brctr: brctrs, length: start } = batch;
    let brctr = counts[1]!;
    if (!batch.sparse) for (let i = 0; i < start; i++) brctrs[i] = batch.first + i;
    for (let i = 0; i < count; i++) {
      brctr += brctrGap[walk[walked + i]!]! + 1;
      brctrs[start + i] = brctr;
    }
    batch.first = brctrs[0]!;
    batch.sparse = brctr - batch.first !== start + count - 1;
    counts[1] = brctr;
  }

  /** At the end of a chunk everything must be used up and agree with the header. */
  private finish(): void {
    const { lastIcount, lastBrctr } = this.header!;
    const agrees = this.decoder.isAtEnd && this.counts[0] === lastIcount && this.counts[1] === lastBrctr;
    if (!agrees) throw this.decoder.damaged("it does not end where its header says");
  }
}
