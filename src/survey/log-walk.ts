import { VmtapeError } from "../base/errors.js";
import type { RunContext } from "../base/run-context.js";
import { throwIfAborted } from "../base/stopping.js";
import { chunkHeaderLayout, isDense } from "../formats/branch-log-layout.js";
import { BranchWalkDecoder } from "../formats/branch-walk-decoder.js";
import type { BranchLog } from "../trace/branch-log.js";
import type { TransferRun, TransferSymbols } from "../views/transfers.js";

/** Who reads a log's records. */
export interface LogReader {
  /** The records that follow have other symbols; those of the ones before are still there. */
  startChunk(): void;
  feed(run: TransferRun): void;
}

/** A place at which a reader is told something, before the record of that brctr. */
export interface LogStop {
  readonly brctr: number;
  reached(): Promise<void> | void;
}

export type LogWalkOptions = Pick<RunContext, "signal" | "onProgress">;

/**
 * Walks through the records of a branch log between two instants, as runs of symbols: some 150 M records a second with a
 * reader that does little. Memory does not depend on the log.
 */
export class LogWalk {
  private readonly decoder = new BranchWalkDecoder();

  private constructor(
    private readonly log: BranchLog,
    /** icounts: the window. */
    readonly from: number,
    readonly to: number,
    /** brctrs: the window's records. */
    readonly first: number,
    readonly end: number,
  ) {}

  /**
   * @throws `unsupported` for a log that does not hold all records with their icounts; `not-found` for a window that does
   *   not lie in it
   */
  static async open(log: BranchLog, from: number, to: number): Promise<LogWalk> {
    const { file, start, end } = log.info;
    if (!isDense(log.header)) {
      throw new VmtapeError("unsupported", `${file} does not hold all branches with their instants`, {
        file,
      });
    }
    const [low, high] = [Number(start.icount), Number(end.icount)];
    if (from < low || to > high) {
      throw new VmtapeError("not-found", `${file} holds the branches from @${low} to @${high} only`, {
        file,
      });
    }
    const first = from === low ? Number(start.brctr) : Number(await log.seekIcount(from));
    const last = to === high ? Number(end.brctr) : Number(await log.seekIcount(to));
    return new LogWalk(log, from, to, first, last);
  }

  /**
   * Gives a reader all records.
   *
   * @param stops ascending by brctr
   */
  async read(reader: LogReader, stops: Iterator<LogStop>, options: LogWalkOptions = {}): Promise<void> {
    const { from, to } = this;
    let stop = stops.next();
    let next = Number.NEGATIVE_INFINITY;
    const reach = async (brctr: number) => {
      for (; !stop.done && stop.value.brctr <= brctr; stop = stops.next()) await stop.value.reached();
      next = stop.done ? Number.POSITIVE_INFINITY : stop.value.brctr;
    };
    let icount = from;
    const last = this.end > this.first ? await this.log.chunkAt(this.end - 1) : -1;
    for (let number = await this.log.chunkAt(this.first); number <= last; number++) {
      throwIfAborted(options.signal);
      const { header, bytes } = await this.log.rawChunk(number);
      reader.startChunk(); // what it makes of the last one's symbols, it makes now: they are written over
      this.decoder.start(header, bytes.subarray(chunkHeaderLayout.size), this.log.info.file);
      const { firstBrctr } = header;
      let at = Math.max(0, this.first - firstBrctr);
      await reach(firstBrctr + at);
      this.feedFirst(reader, at, header.firstIcount, icount);
      const end = Math.min(header.records, this.end - firstBrctr);
      for (at++; at < end; ) {
        if (firstBrctr + at >= next) await reach(firstBrctr + at);
        at = this.feedPart(reader, at, Math.min(end, next - firstBrctr));
      }
      if (this.decoder.decoded === header.records && !this.decoder.isAtEnd) {
        throw this.decoder.damaged("it does not end where its header says");
      }
      icount = header.lastIcount;
      const done = Math.min(icount, to) - from;
      options.onProgress?.({ doing: "following calls", done, total: to - from, unit: "instructions" });
    }
    await reach(Number.POSITIVE_INFINITY);
  }

  /** Feeds records from one place in the chunk to another, as far as they are decoded in one go. */
  private feedPart(reader: LogReader, at: number, limit: number): number {
    const { decoder } = this;
    if (decoder.decoded <= at) decoder.step();
    const end = Math.min(limit, decoder.decoded);
    reader.feed({ symbols: decoder.symbols, walk: decoder.walk, start: at, end });
    return end;
  }

  /** The first record of a chunk that is wanted: its step is one from the chunk before, or the window's start. */
  private feedFirst(reader: LogReader, at: number, icountBefore: number, from: number): void {
    const { decoder } = this;
    while (decoder.decoded <= at) decoder.step();
    const { symbols, walk } = decoder;
    let icount = icountBefore;
    for (let i = 0; i <= at; i++) icount += symbols.icountStep[walk[i]!]!;
    const only = oneOf(symbols, walk[at]!, icount - from);
    reader.feed({ symbols: only, walk: firstSymbol, start: 0, end: 1 });
    reader.startChunk();
  }
}

const firstSymbol = new Int32Array(1);

function oneOf(symbols: TransferSymbols, number: number, icountStep: number): TransferSymbols {
  return {
    count: 1,
    addresses: symbols.addresses.slice(4 * number, 4 * number + 4),
    kind: symbols.kind.slice(number, number + 1),
    icountStep: Float64Array.of(icountStep),
  };
}
