import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openFileSource } from "../../base/byte-source.js";
import { fileError } from "../../base/errors.js";
import { noLinks, openRegular } from "../../base/regular-file.js";
import {
  decodeIndexTable,
  encodeIndexTable,
  type IndexRow,
  type IndexTable,
  longestIndexTable,
} from "../../formats/index-table.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { kindCodes, logHeader } from "../../formats/replay-log-layout.js";
import { ReplayLogScanner } from "../../formats/replay-log-scanner.js";
import type { Tape } from "../../tape/tape.js";
import { isGone, waitForLock } from "./lock.js";
import { rowDistance } from "./spacing.js";

/** A row without its place in the log, which is looked up later. */
export type CountedRow = Pick<IndexRow, "icount" | "brctr">;

/** The most rows of a table. */
const mostRows = 8192;

const tablePath = (cache: string) => join(cache, "index.jsonl");
const lockPath = (cache: string) => join(cache, "index.lock");

/** The files of an index beside its checkpoints. */
export function indexFiles(cache: string): string[] {
  return [tablePath(cache), lockPath(cache), indexingLock(cache)];
}

/** The lock of the process that is indexing the tape. */
export const indexingLock = (cache: string) => join(cache, "indexing.lock");

/** The tape's table; undefined when there is none, or it is damaged. Cost: 1 ms. */
export async function readIndexTable(cache: string): Promise<IndexTable | undefined> {
  const file = await openRegular(tablePath(cache), noLinks).catch(() => undefined);
  if (!file) return undefined;
  try {
    if ((await file.stat()).size > longestIndexTable) return undefined;
    return decodeIndexTable(await file.readFile("utf8"));
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

/** A text that changes when the table does; "" when there is none. */
export async function tableStamp(cache: string): Promise<string> {
  const facts = await stat(tablePath(cache), { bigint: true }).catch(() => undefined);
  return facts ? `${facts.ino} ${facts.mtimeNs} ${facts.ctimeNs}` : "";
}

/** What a pass adds to a table. */
export interface TableAddition {
  readonly rows: readonly CountedRow[];
  /** A stretch in which no row is missing. */
  readonly counted?: { readonly from: number; readonly to: number };
  readonly budget?: number;
}

/**
 * Adds to the tape's table, and makes it when there is none. Several processes may do so at once. Readers see either
 * the old table or the new one. Cost: one scan of the log, about 500 MB/s.
 *
 * @throws `disk-full`, `not-writable`
 */
export async function addToTable(tape: Tape, cache: string, addition: TableAddition): Promise<void> {
  try {
    await mkdir(cache, { recursive: true, mode: 0o700 });
    await using _lock = await waitForLock(lockPath(cache));
    const table = (await readIndexTable(cache)) ?? emptyTable(tape);
    const rows = await placeInLog(tape, mergeRows(table, addition));
    const { from = 0, to = 0 } = addition.counted ?? {};
    const counted = from <= table.counted ? Math.max(table.counted, to) : table.counted;
    await replaceTable(cache, { ...table, rows, counted, budget: addition.budget ?? table.budget });
  } catch (error) {
    if (isGone(error)) return; // the cache was removed meanwhile
    throw fileError(error, tablePath(cache), "writing");
  }
}

export async function removeTable(cache: string): Promise<void> {
  await rm(tablePath(cache), { force: true });
}

function emptyTable(tape: Tape): IndexTable {
  return {
    log: tape.end.log.sha256,
    every: rowDistance(Number(tape.end.at)),
    counted: 0,
    budget: 0,
    rows: [],
  };
}

/** Old and new rows in order: each instant once, and no two much closer together than the table's distance. */
export function mergeRows(table: IndexTable, { rows: added }: TableAddition): CountedRow[] {
  const all: CountedRow[] = [...table.rows, ...added].sort((a, b) => a.icount - b.icount);
  const merged: CountedRow[] = [];
  const least = Math.max(table.every / 4, ((all.at(-1)?.icount ?? 0) / mostRows) * 1.01);
  for (const [i, row] of all.entries()) {
    const before = merged.at(-1);
    const isLast = i === all.length - 1;
    if (before && row.icount - before.icount < least) {
      if (!isLast || row.icount === before.icount) continue;
      merged.pop(); // the row of the tape's end replaces it
    }
    merged.push(row);
  }
  return merged;
}

/** Looks up the guest's time and the log offset of each row. */
export async function placeInLog(tape: Tape, rows: readonly CountedRow[]): Promise<IndexRow[]> {
  const placed: IndexRow[] = [];
  let time: number | null = null;
  let offset: number = logHeader.size;
  const placeUpTo = (icount: number) => {
    for (let row = rows[placed.length]; row && row.icount < icount; row = rows[placed.length]) {
      placed.push({ icount: row.icount, brctr: row.brctr, time, offset });
    }
  };
  await using source = await openFileSource(tape.layout.log, noLinks);
  const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
  while (placed.length < rows.length && (await scanner.next())) {
    const { count, kinds, icounts, offsets, view, base } = scanner.batch;
    for (let i = 0; i < count; i++) {
      const at = icounts[i]!;
      if (at > (rows[placed.length]?.icount ?? 0)) placeUpTo(at);
      offset = offsets[i]!;
      if (kinds[i] !== kindCodes["clock-virtual-rt"]) continue;
      const ns = Number(view.getBigInt64(offset - base + 1));
      if (Number.isSafeInteger(ns)) time = ns;
    }
  }
  placeUpTo(Number.POSITIVE_INFINITY);
  return placed;
}

async function replaceTable(cache: string, table: IndexTable): Promise<void> {
  const temporary = `${tablePath(cache)}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(encodeIndexTable(table));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, tablePath(cache));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}
