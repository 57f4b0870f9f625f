import type { ByteSource } from "../base/byte-source.js";
import { VmtapeError } from "../base/errors.js";
import type { ReplayLogDialect } from "./replay-log-dialect.js";
import { type LogHeader, readLogHeader } from "./replay-log-header.js";
import { type EventKind, eventKinds, kindCodes, logHeader, longestHead } from "./replay-log-layout.js";
import { fixedLengths, isNoEvent, measureEvent, needsMore } from "./replay-log-length.js";

/**
 * The hot loop over a replay log: where each event lies, its kind, and the icount before it, into typed arrays.
 * It looks at kind bytes, instruction counts and lengths only; `replay-log-event.ts` decodes payloads.
 */

/**
 * Consecutive events in columns. Borrowed: the next call of `ReplayLogScanner.next` overwrites all of it.
 */
export interface EventBatch {
  /** Events in this batch: entries 0 … count - 1 of the columns. */
  count: number;
  /** Index in the log of entry 0. */
  firstIndex: number;
  /** Code of each event's kind, an index of `eventKinds`. */
  readonly kinds: Uint8Array;
  /** Byte offset of each event in the file; entry `count` is the end of the last one. */
  readonly offsets: Float64Array;
  /** Instructions executed before each event, below 2^53. */
  readonly icounts: Float64Array;
  /** The window of the file the events begin in, from file offset `base`: event i is at `offsets[i] - base`. */
  view: DataView;
  base: number;
}

/** Where and why a log ended. */
export interface LogEnding {
  /**
   * `ended`: an end event is the last byte. `cut`: the file ends before an end event, perhaps inside an event.
   * `damaged`: bytes that are no event of this dialect, or bytes after the end event.
   */
  readonly state: "ended" | "cut" | "damaged";
  /** End of the last whole event, in bytes from the start of the file. */
  readonly offset: number;
  /** Instructions executed at that point. */
  readonly icount: number;
  /** Whole events before that point. */
  readonly events: number;
  /** Kind of the last whole event. */
  readonly lastKind?: EventKind;
  /** What is wrong, when the state is not `ended`: code `bad-log`. */
  readonly fault?: VmtapeError;
}

export interface ScanOptions {
  /** Accept a log whose version word is still 0 (its QEMU has not exited cleanly). Default: refuse. */
  readonly unfinished?: boolean;
  /** Bytes held in memory, at least 64. Default 512 KiB. */
  readonly bufferSize?: number;
  /** Events in a batch at most. Default 65536. */
  readonly batchSize?: number;
}

/**
 * Scans a log from its first event to its end, in constant memory. About 8 ns an event; a payload longer than
 * the buffer is skipped without being read, so an absurd length costs nothing.
 */
export class ReplayLogScanner {
  /** Borrowed; valid until the next call of `next`. */
  readonly batch: EventBatch;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;
  private readonly lengths: Uint8Array;
  private readonly capacity: number;
  /** End of the bytes in `buffer`, and the place of the next event, both from the buffer's start. */
  private limit = 0;
  private at = 0;
  private base: number = logHeader.size;
  private icount = 0;
  private events = 0;
  private lastCode = -1;
  private end: LogEnding | undefined;

  private constructor(
    private readonly source: ByteSource,
    readonly header: LogHeader,
    readonly dialect: ReplayLogDialect,
    options: ScanOptions,
  ) {
    const bufferSize = Math.min(options.bufferSize ?? 512 * 1024, source.size);
    this.buffer = new Uint8Array(Math.max(64, longestHead, bufferSize));
    this.view = new DataView(this.buffer.buffer);
    this.lengths = fixedLengths(dialect);
    this.capacity = Math.max(1, Math.min(options.batchSize ?? 65536, source.size));
    this.batch = {
      count: 0,
      firstIndex: 0,
      kinds: new Uint8Array(this.capacity),
      offsets: new Float64Array(this.capacity + 1),
      icounts: new Float64Array(this.capacity),
      view: this.view,
      base: this.base,
    };
  }

  /** Checks the header. @throws VmtapeError `bad-log` as `readLogHeader` does */
  static async open(
    source: ByteSource,
    dialect: ReplayLogDialect,
    options: ScanOptions = {},
  ): Promise<ReplayLogScanner> {
    const header = await readLogHeader(source, options.unfinished);
    return new ReplayLogScanner(source, header, dialect, options);
  }

  /** How the log ended; undefined until `next` has answered false. */
  get ending(): LogEnding | undefined {
    return this.end;
  }

  /**
   * Fills `batch` with the next events.
   *
   * @returns false when there are none left: `ending` then says why, and nothing is thrown for damage
   * @throws VmtapeError of the source
   */
  async next(): Promise<boolean> {
    while (!this.end) {
      if (this.fill() > 0) return true;
      if (this.end) break;
      await this.refill();
    }
    this.batch.count = 0;
    return false;
  }

  /** Moves the window to the next event; at the end of the file says how the log ended. */
  private async refill(): Promise<void> {
    const from = this.base + this.at;
    const moved = this.at > 0 || this.limit === 0;
    if (!moved || from >= this.source.size) return this.finishCut();
    this.base = from;
    this.at = 0;
    this.limit = await this.source.read(from, this.buffer);
    if (this.limit === 0) this.finishCut();
  }

  /** The hot loop. @returns how many events it put into the batch */
  private fill(): number {
    const { buffer, lengths, limit, base, capacity } = this;
    const { kinds, offsets, icounts } = this.batch;
    const { codes } = this.dialect;
    let { at, icount } = this;
    let count = 0;
    while (count < capacity && at < limit) {
      const byte = buffer[at]!;
      const code = codes[byte]!;
      let length = lengths[byte]!;
      if (length === 0) {
        length = measureEvent(this.view, at, limit, code);
        if (length === needsMore) break;
        if (length === isNoEvent || base + at + length > this.source.size) {
          this.take(at, icount, count);
          if (count === 0) this.finishAt(byte, length);
          return count;
        }
      } else if (at + length > limit) {
        break;
      }
      kinds[count] = code;
      offsets[count] = base + at;
      icounts[count] = icount;
      if (code === 0) {
        const run =
          (buffer[at + 1]! << 24) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 8) | buffer[at + 4]!;
        if (run <= 0 || icount + run > Number.MAX_SAFE_INTEGER) {
          this.take(at, icount, count);
          if (count === 0) this.finishAt(byte, isNoEvent);
          return count;
        }
        icount += run;
      }
      count++;
      at += length;
      if (code === endCode) {
        this.take(at, icount, count);
        this.finishEnded();
        return count;
      }
    }
    this.take(at, icount, count);
    return count;
  }

  /** Stores where the loop stopped and publishes the batch. */
  private take(at: number, icount: number, count: number): void {
    const { batch } = this;
    if (batch.base !== this.base || batch.view.byteLength !== this.limit) {
      batch.view = new DataView(this.buffer.buffer, 0, this.limit);
      batch.base = this.base;
    }
    batch.firstIndex = this.events;
    batch.count = count;
    batch.offsets[count] = this.base + at;
    if (count > 0) this.lastCode = batch.kinds[count - 1]!;
    this.at = at;
    this.icount = icount;
    this.events += count;
  }

  private finishEnded(): void {
    const offset = this.base + this.at;
    if (offset === this.source.size) {
      this.end = this.endingAs("ended");
      return;
    }
    const extra = this.source.size - offset;
    this.end = this.endingAs("damaged", `${extra} bytes follow the end event`, "the end of the file");
  }

  private finishCut(): void {
    const left = this.source.size - (this.base + this.at);
    this.end = this.endingAs(
      "cut",
      left > 0 ? `the log ends inside an event, ${left} bytes into it` : "the log ends without an end event",
      "an end event",
    );
  }

  private finishAt(byte: number, length: number): void {
    const kind = eventKinds[this.dialect.codes[byte]!];
    if (length !== isNoEvent) {
      this.end = this.endingAs(
        "cut",
        `an event of kind ${kind} claims ${length} bytes`,
        "the rest of the event",
      );
    } else if (kind) {
      this.end = this.endingAs("damaged", `bytes that no event of kind ${kind} has`, `a ${kind} event`);
    } else {
      this.end = this.endingAs("damaged", `no event has the kind byte ${byte}`, "the kind byte of an event");
    }
  }

  private endingAs(state: LogEnding["state"], what?: string, expected?: string): LogEnding {
    const offset = this.base + this.at;
    const { icount, events } = this;
    const lastKind = eventKinds[this.lastCode];
    const place = { offset, icount, events, ...(lastKind && { lastKind }) };
    if (what === undefined) return { state, ...place };
    const file = this.source.name;
    const last =
      events === 0 ? "there is no whole event" : `the last whole event is ${events - 1}, ${lastKind}`;
    const fault = new VmtapeError(
      "bad-log",
      `${file}: ${what} at byte ${offset}, icount ${icount}; ${last}`,
      {
        file,
        offset,
        icount: BigInt(icount),
        ...(expected && { expected }),
        got: what,
        lastEvent: events - 1,
        ...(lastKind && { lastKind }),
      },
    );
    return { state, ...place, fault };
  }
}

const endCode = kindCodes.end;
