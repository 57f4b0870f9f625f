import type { Brctr, Icount } from "../base/units.js";
import type { BranchBatch, BranchKind } from "../formats/branch.js";
import type { BranchSelection } from "../formats/branch-log-layout.js";

/** What a file of branch records says of itself. */
export interface BranchFileInfo {
  readonly file: string;
  readonly format: "vmtape" | "bts" | "bts-extended";
  readonly bytes: number;
  /** Format version; undefined for BTS, as all that only our format tells. */
  readonly version: number | undefined;
  readonly tape: string | undefined;
  readonly arch: string | undefined;
  readonly qemu: string | undefined;
  readonly selection: BranchSelection;
  readonly chunks: number;
  readonly records: number;
  /** The instant where logging began. The icount is undefined where the file tells none. */
  readonly start: Instant;
  /** The instant where logging ended; of a log that was not finished, the one after its last whole record. */
  readonly end: Instant;
  /** Records of each kind; undefined where only reading them all would tell. */
  readonly kinds: Partial<Record<BranchKind, number>> | undefined;
  /** False for a log whose writer did not finish, and for a BTS file with half a record at its end. */
  readonly whole: boolean;
  /** What is missing or damaged, as far as opening showed it, and at which byte. */
  readonly damage: BranchFileDamage | undefined;
}

export interface Instant {
  readonly brctr: Brctr;
  readonly icount: Icount | undefined;
}

export interface BranchFileDamage {
  readonly offset: number;
  readonly what: string;
  /** The first record that cannot be trusted, where that is known. */
  readonly brctr?: Brctr | undefined;
}

/** What reading a whole file showed. */
export interface BranchFileCheck {
  readonly ok: boolean;
  /** Records that could be read. */
  readonly records: number;
  readonly chunks: number;
  readonly badChunks: number;
  readonly kinds: Partial<Record<BranchKind, number>>;
  /** The first damage. */
  readonly damage: BranchFileDamage | undefined;
}

export interface BranchCheckOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with records done and in all, often. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Which records: brctr `from` inclusive to `to` exclusive, or transfers after the instants `fromIcount` to `toIcount`. */
export interface BranchRange {
  readonly from?: bigint | number | undefined;
  readonly to?: bigint | number | undefined;
  readonly fromIcount?: bigint | number | undefined;
  readonly toIcount?: bigint | number | undefined;
}

/**
 * A file of branch records, ours or BTS: one cursor that is put somewhere (`seek`, `seekIcount`) and moves on with
 * each `read`. Calls may not overlap. Memory does not depend on the file's size.
 */
export interface BranchReader extends AsyncDisposable {
  readonly info: BranchFileInfo;
  /** Puts the cursor at the first record whose brctr is at least this. */
  seek(brctr: bigint | number): Promise<void>;
  /**
   * Puts the cursor at the first record made after the instant when so many instructions had been executed. An
   * interrupt or fault delivered at exactly that count comes after the instant.
   *
   * @returns the brctr of that instant
   * @throws `unsupported` on a file that tells no icounts
   */
  seekIcount(icount: bigint | number): Promise<Brctr>;
  /**
   * Fills a batch from the cursor on.
   *
   * @returns records read: 0 at the end, else as many as the batch holds or the file still has
   * @throws `bad-file` at a damaged place, with its offset; the records before it can be read
   */
  read(batch: BranchBatch): Promise<number>;
  /** `seek` and `read`. */
  readAt(brctr: bigint | number, batch: BranchBatch): Promise<number>;
  /** All records of a range, in batches that are valid until the next one (borrowed). */
  batches(range?: BranchRange, batch?: BranchBatch): AsyncGenerator<BranchBatch, void, undefined>;
  /** Reads everything and checks it; damage is told, not thrown. */
  check(options?: BranchCheckOptions): Promise<BranchFileCheck>;
  close(): Promise<void>;
}
