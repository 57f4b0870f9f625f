import { VmtapeError } from "../../base/errors.js";
import type { BranchRange, BranchReader } from "../../trace/branch-reader.js";
import { parseCNumber } from "../../trace/range-text.js";
import { note } from "../shell/output.js";

/** Reads `--from` and `--to` as a range. Ends given as brctr are inclusive; they may also be instants, @ICOUNT. */
export function rangeOf(flags: { readonly from?: string; readonly to?: string }): BranchRange {
  const range: { -readonly [K in keyof BranchRange]: BranchRange[K] } = {};
  if (flags.from !== undefined && flags.from !== "start") {
    if (flags.from.startsWith("@")) range.fromIcount = parseCNumber(flags.from.slice(1), "--from");
    else range.from = parseCNumber(flags.from, "--from");
  }
  if (flags.to !== undefined && flags.to !== "end") {
    if (flags.to.startsWith("@")) range.toIcount = parseCNumber(flags.to.slice(1), "--to");
    else range.to = parseCNumber(flags.to, "--to") + 1;
  }
  const backwards =
    (range.from !== undefined && range.to !== undefined && range.from >= range.to) ||
    (range.fromIcount !== undefined && range.toIcount !== undefined && range.fromIcount > range.toIcount);
  if (backwards) throw new VmtapeError("usage", `--from ${flags.from} lies beyond --to ${flags.to}`);
  return range;
}

/** The error for a range that has no records. */
export function nothingThere(reader: BranchReader): VmtapeError {
  const { file, records, start, end } = reader.info;
  const has = records === 0 ? "it holds none" : `it holds brctr ${start.brctr} to ${end.brctr - 1n}`;
  return new VmtapeError("not-found", `${file} has no branches there: ${has}`, { file });
}

/**
 * Prints on stderr which part of a file could not be read, so that the user does not take that for the end of the
 * trace.
 */
export function noteDamage(reader: BranchReader): void {
  const { damage, file, records, end } = reader.info;
  if (damage) note(`${file}: ${damage.what}; ${records} records, up to brctr ${end.brctr}, are read`);
}
