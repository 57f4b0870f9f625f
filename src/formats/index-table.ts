import { sealLines, unsealLines } from "./sealed-lines.js";

/**
 * The index table of a tape (docs/FORMATS.md, "Index table"): instants whose branch count is known, with their place
 * in the log. A line of JSON with facts, a line a row, and a seal.
 */
export interface IndexTable {
  /** SHA-256 of the log it belongs to. */
  readonly log: string;
  /** Instructions from row to row, about. */
  readonly every: number;
  /** From the tape's beginning to this icount no row is missing. */
  readonly counted: number;
  /** Bytes that the tape's checkpoints may take; 0 while nobody has chosen. */
  readonly budget: number;
  /** In order; icounts rise, the others do not fall. */
  readonly rows: readonly IndexRow[];
}

/** An instant, before any delivery at its icount. */
export interface IndexRow {
  readonly icount: number;
  /** Branch records before it. */
  readonly brctr: number;
  /** Nanoseconds of guest time, by the log's last `clock-virtual-rt` event until then; null before the first. */
  readonly time: number | null;
  /** Byte offset in the log of the last event at or before it; the header's length before the first. */
  readonly offset: number;
}

const format = "vmtape-index";
const version = 1;
/** A longer file is none of ours. */
export const longestIndexTable = 16 << 20;

export function encodeIndexTable({ rows, ...facts }: IndexTable): string {
  const lines = rows.map(({ icount, brctr, time, offset }) => `[${icount},${brctr},${time},${offset}]\n`);
  return sealLines(`${JSON.stringify({ format, version, ...facts })}\n${lines.join("")}`);
}

/** Undefined for anything that {@link encodeIndexTable} did not write. */
export function decodeIndexTable(text: string): IndexTable | undefined {
  const lines = unsealLines(text)?.split("\n");
  if (lines?.pop() !== "") return undefined;
  try {
    const facts = JSON.parse(lines[0] ?? "") as Partial<IndexTable> & { format?: unknown; version?: unknown };
    if (facts.format !== format || facts.version !== version) return undefined;
    const { log, every, counted, budget } = facts;
    if (typeof log !== "string" || !isCount(every) || !isCount(counted) || !isCount(budget)) return undefined;
    const rows = lines.slice(1).map(decodeRow);
    return rows.every(isAfter) ? { log, every, counted, budget, rows } : undefined;
  } catch {
    return undefined;
  }
}

function decodeRow(line: string): IndexRow {
  const [icount, brctr, time, offset] = JSON.parse(line) as unknown[];
  if (!isCount(icount) || !isCount(brctr) || !isCount(offset)) throw new RangeError(line);
  if (time !== null && !Number.isSafeInteger(time)) throw new RangeError(line);
  return { icount, brctr, time: time as number | null, offset };
}

function isAfter(row: IndexRow, place: number, rows: readonly IndexRow[]): boolean {
  const before = rows[place - 1];
  return !before || (row.icount > before.icount && row.brctr >= before.brctr && row.offset >= before.offset);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
