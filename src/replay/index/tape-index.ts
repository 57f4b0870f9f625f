import { stat } from "node:fs/promises";
import { type Brctr, brctr, type Icount, icount } from "../../base/units.js";
import type { IndexTable } from "../../formats/index-table.js";
import type { QemuBuild } from "../../qemu/build.js";
import {
  type Checkpoint,
  type CountedCheckpoint,
  checkpointHome,
  isCounted,
  listCheckpoints,
  removeCheckpoint,
} from "../session/checkpoint.js";
import { readIndexTable, tableStamp } from "./table-file.js";

/** An instant whose branch count is known: before any delivery at its icount. */
export interface TapeRow {
  readonly icount: Icount;
  readonly brctr: Brctr;
  /** Nanoseconds of guest time since the machine was started, undefined where the log has none yet. */
  readonly time: bigint | undefined;
  /** Byte offset in the log of the last event at or before it. */
  readonly logOffset: number;
}

/**
 * The index of a tape, as its cache has it: checkpoints to start from, and rows that give branch counts, times and
 * log offsets. It may be empty; then all answers are the same, but take longer.
 *
 * It shows the cache at the last {@link refresh}; other processes may add and remove checkpoints at any time. A
 * session whose checkpoint is gone fails with `isLostCheckpoint`. Its caller refreshes the index and takes the
 * checkpoint before (`withoutLost` does that).
 */
export class TapeIndex {
  private readonly cache: string;
  private readonly build: Pick<QemuBuild, "sha256">;
  private known: readonly Checkpoint[] = [];
  private counted: readonly CountedCheckpoint[] = [];
  private table: IndexTable | undefined;
  private stamps = { checkpoints: "", table: "" };

  private constructor(cache: string, build: Pick<QemuBuild, "sha256">) {
    this.cache = cache;
    this.build = build;
  }

  /**
   * Opens the index of a tape. Cost: about 5 ms.
   *
   * @param cache the tape's (`tapeCache`)
   * @param build the tape's QEMU; checkpoints of other builds are ignored
   */
  static async open(cache: string, build: Pick<QemuBuild, "sha256">): Promise<TapeIndex> {
    const index = new TapeIndex(cache, build);
    await index.refresh();
    return index;
  }

  /** Reads again what has changed since the last time. Cost where nothing has changed: two calls of `stat`. */
  async refresh(): Promise<boolean> {
    const now = {
      checkpoints: await stampOf(checkpointHome(this.cache, this.build)),
      table: await tableStamp(this.cache),
    };
    const before = this.stamps;
    this.stamps = now; // taken before reading, so that a change meanwhile is read the next time
    if (now.checkpoints !== before.checkpoints) {
      this.known = await listCheckpoints(this.cache, this.build);
      this.counted = this.known.filter(isCounted);
    }
    if (now.table !== before.table) this.table = await readIndexTable(this.cache);
    return now.checkpoints !== before.checkpoints || now.table !== before.table;
  }

  /** Checkpoints whose branch count is known, in order. */
  get checkpoints(): readonly CountedCheckpoint[] {
    return this.counted;
  }

  /** All checkpoints, with those whose branch count is not known. */
  get allCheckpoints(): readonly Checkpoint[] {
    return this.known;
  }

  /** Bytes that all checkpoints take on disk. */
  get bytes(): number {
    return this.known.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  /** Bytes that all checkpoints may take on disk; undefined until the tape was indexed. */
  get budget(): number | undefined {
    return this.table?.budget || undefined;
  }

  /** The icount up to which no row is missing. */
  get countedTo(): Icount {
    return icount(this.table?.counted ?? 0);
  }

  /** How many rows there are. */
  get rowCount(): number {
    return this.table?.rows.length ?? 0;
  }

  /** All rows, in order. */
  *rows(): Generator<TapeRow> {
    for (let i = 0; i < this.rowCount; i++) yield this.row(i)!;
  }

  /**
   * The last checkpoint from which every instant of an icount can be reached. A checkpoint at the same icount counts
   * only if it was made before all deliveries at it.
   */
  nearest(at: Icount): CountedCheckpoint | undefined {
    return lastOf(this.counted, (one) => one.icount < at || (one.icount === at && !one.delivered));
  }

  /** The last checkpoint whose brctr is at most `count`. */
  nearestToBrctr(count: Brctr): CountedCheckpoint | undefined {
    return lastOf(this.counted, (one) => one.brctr <= count);
  }

  /** The last row at or before an icount. */
  rowAt(at: Icount): TapeRow | undefined {
    return this.row(this.countRows((row) => row.icount <= Number(at)) - 1);
  }

  /**
   * The last row whose brctr is at most `count`. The instant with that brctr lies between this row and the next one.
   */
  rowOfBrctr(count: Brctr): TapeRow | undefined {
    return this.row(this.countRows((row) => row.brctr <= Number(count)) - 1);
  }

  /** The last row at or before a time, in nanoseconds since the machine was started. */
  rowAtTime(time: bigint): TapeRow | undefined {
    return this.row(this.countRows((row) => row.time === null || row.time <= Number(time)) - 1);
  }

  /** The row after `row`; undefined after the last. */
  rowAfter(row: TapeRow): TapeRow | undefined {
    return this.row(this.countRows((one) => one.icount <= Number(row.icount)));
  }

  /** Removes a checkpoint. Sessions that started from it can go on. */
  async drop(checkpoint: Checkpoint): Promise<void> {
    await removeCheckpoint(checkpoint.directory);
    this.known = this.known.filter((one) => one.directory !== checkpoint.directory);
    this.counted = this.known.filter(isCounted);
  }

  /** How many rows pass a test that all rows up to some row pass, and none after it. A binary search. */
  private countRows(passes: (row: IndexTable["rows"][number]) => boolean): number {
    const rows = this.table?.rows ?? [];
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (passes(rows[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private row(place: number): TapeRow | undefined {
    const row = this.table?.rows[place];
    if (!row) return undefined;
    return {
      icount: icount(row.icount),
      brctr: brctr(row.brctr),
      time: row.time === null ? undefined : BigInt(row.time),
      logOffset: row.offset,
    };
  }
}

/** The last element that passes. */
function lastOf<One>(ordered: readonly One[], passes: (one: One) => boolean): One | undefined {
  for (let i = ordered.length - 1; i >= 0; i--) if (passes(ordered[i]!)) return ordered[i];
  return undefined;
}

/**
 * The kernel's time stamps have a resolution of some ms, so that two changes within this time may leave the same
 * stamp.
 */
const tickMs = 50;
let unsettled = 0;

/** A text that changes when a file is added to a directory or removed from it. */
async function stampOf(directory: string): Promise<string> {
  const facts = await stat(directory, { bigint: true }).catch(() => undefined);
  if (!facts) return "";
  const isSettled = Math.abs(Date.now() - Number(facts.mtimeMs)) > tickMs;
  return isSettled ? `${facts.ino} ${facts.mtimeNs}` : `unsettled ${unsettled++}`;
}
