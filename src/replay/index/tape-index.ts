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
  /** Nanoseconds of guest time since the machine was started, as far as the log tells. */
  readonly time: bigint | undefined;
  /** Byte offset in the log of the last event at or before it. */
  readonly logOffset: number;
}

/**
 * What a tape's cache knows: checkpoints to start from, and rows that tell branch counts, times and log offsets. It
 * may know nothing at all, and nothing depends on it but time.
 *
 * It is what the cache held at the last {@link refresh}: others may add and remove. A session that cannot start
 * from a checkpoint says so (`isLostCheckpoint`); refresh, and take the one before (`withoutLost`).
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
   * Cost: about 5 ms.
   *
   * @param cache the tape's (`tapeCache`)
   * @param build the tape's QEMU: checkpoints of others are none
   */
  static async open(cache: string, build: Pick<QemuBuild, "sha256">): Promise<TapeIndex> {
    const index = new TapeIndex(cache, build);
    await index.refresh();
    return index;
  }

  /** Reads again what has changed since. Cost: two looks at the file system when nothing has. */
  async refresh(): Promise<boolean> {
    const now = {
      checkpoints: await stampOf(checkpointHome(this.cache, this.build)),
      table: await tableStamp(this.cache),
    };
    const before = this.stamps;
    this.stamps = now; // taken before reading: what changes meanwhile is read next time
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

  /** Those too that nobody counted at. */
  get allCheckpoints(): readonly Checkpoint[] {
    return this.known;
  }

  /** Bytes that all checkpoints take on disk. */
  get bytes(): number {
    return this.known.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  /** Bytes they may take; undefined until an index was made. */
  get budget(): number | undefined {
    return this.table?.budget || undefined;
  }

  /** From the beginning to this icount no row is missing. */
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
   * The last checkpoint at or before an instant; one at the very icount only if no delivery of that icount was made
   * in it, so that every instant of the icount can be reached from it.
   */
  nearest(at: Icount): CountedCheckpoint | undefined {
    return lastOf(this.counted, (one) => one.icount < at || (one.icount === at && !one.delivered));
  }

  /** The last checkpoint with at most so many branch records before it. */
  nearestToBrctr(count: Brctr): CountedCheckpoint | undefined {
    return lastOf(this.counted, (one) => one.brctr <= count);
  }

  /** The last row at or before an instant. */
  rowAt(at: Icount): TapeRow | undefined {
    return this.row(this.countRows((row) => row.icount <= Number(at)) - 1);
  }

  /** The last row with at most so many branch records before it: the wanted instant comes before the row after it. */
  rowOfBrctr(count: Brctr): TapeRow | undefined {
    return this.row(this.countRows((row) => row.brctr <= Number(count)) - 1);
  }

  /** The last row at or before a time, in nanoseconds since the machine was started. */
  rowAtTime(time: bigint): TapeRow | undefined {
    return this.row(this.countRows((row) => row.time === null || row.time <= Number(time)) - 1);
  }

  /** The row after one of these; undefined after the last. */
  rowAfter(row: TapeRow): TapeRow | undefined {
    return this.row(this.countRows((one) => one.icount <= Number(row.icount)));
  }

  /** Removes a checkpoint. Sessions that started from it go on. */
  async drop(checkpoint: Checkpoint): Promise<void> {
    await removeCheckpoint(checkpoint.directory);
    this.known = this.known.filter((one) => one.directory !== checkpoint.directory);
    this.counted = this.known.filter(isCounted);
  }

  /** How many of the first rows pass; those that do come before those that do not. */
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

/** The last of some in order that passes. */
function lastOf<One>(ordered: readonly One[], passes: (one: One) => boolean): One | undefined {
  for (let i = ordered.length - 1; i >= 0; i--) if (passes(ordered[i]!)) return ordered[i];
  return undefined;
}

/** The kernel's stamps move in ticks of some ms: after a change, another one may follow within the same. */
const tickMs = 50;
let unsettled = 0;

/** Changes when something comes into a directory or goes. */
async function stampOf(directory: string): Promise<string> {
  const facts = await stat(directory, { bigint: true }).catch(() => undefined);
  if (!facts) return "";
  const isSettled = Math.abs(Date.now() - Number(facts.mtimeMs)) > tickMs;
  return isSettled ? `${facts.ino} ${facts.mtimeNs}` : `unsettled ${unsettled++}`;
}
