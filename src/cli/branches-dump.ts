import { type BranchBatch, branchKindName } from "../formats/branch.js";
import { formatAddress, formatPlace } from "../symbols/symbol-format.js";
import type { Symbols } from "../symbols/symbols.js";
import { BranchText } from "../trace/branch-text.js";
import { openBranches } from "../trace/open-branches.js";
import type { DumpFlags } from "./branches.js";
import { loadNames } from "./branches-names.js";
import { noteDamage, nothingThere, print, rangeOf } from "./branches-range.js";
import { note, toJson } from "./output.js";
import type { CommandContext } from "./run.js";

/** Prints the records of files, one a line. */
export async function dumpBranches(
  { signal }: CommandContext,
  files: readonly string[],
  flags: DumpFlags,
): Promise<void> {
  const range = rangeOf(flags);
  for (const file of files) {
    await using reader = await openBranches(file);
    noteDamage(reader);
    const symbols = flags.names || flags.gdb ? await loadNames(reader, flags, signal) : undefined;
    const text = new BranchText({
      write: symbols && addressWriter(symbols, flags.names ? "full" : "gdb"),
      wideNumbers: flags.extended === true || reader.info.format !== "bts",
      details: flags.extended === true,
    });
    const render = flags.json
      ? (batch: BranchBatch) => jsonLines(batch, symbols)
      : (batch: BranchBatch) => text.lines(batch);
    let printed = 0;
    for await (const batch of reader.batches(range)) {
      printed += batch.length;
      await print(render(batch), signal);
      if (signal.aborted) return;
    }
    for (const text of symbols?.notes ?? []) note(text);
    if (printed === 0) throw nothingThere(reader);
  }
}

function addressWriter(symbols: Symbols, style: "gdb" | "full"): (address: bigint) => string {
  return (address) => formatAddress(address, symbols.lookup(address), style);
}

function jsonLines(batch: BranchBatch, symbols: Symbols | undefined): string {
  let text = "";
  for (let i = 0; i < batch.length; i++) {
    const from = batch.from[i]!;
    const to = batch.to[i]!;
    const executed = batch.icount[i]!;
    const record = {
      brctr: batch.brctrAt(i),
      from: `0x${from.toString(16)}`,
      to: `0x${to.toString(16)}`,
      kind: branchKindName(batch.kind[i]!),
      icount: Number.isNaN(executed) ? undefined : executed,
      fromName: symbols && nameOf(symbols, from),
      toName: symbols && nameOf(symbols, to),
      fromLine: symbols && lineOf(symbols, from),
      toLine: symbols && lineOf(symbols, to),
    };
    text += `${toJson(record)}\n`;
  }
  return text;
}

/** `FILE:LINE:COLUMN`, for JSON, where debug information is there. */
function lineOf(symbols: Symbols, address: bigint): string | undefined {
  const place = symbols.lookup(address)?.place;
  return place && formatPlace(place);
}

/** `name+offset`, for JSON. */
export function nameOf(symbols: Symbols, address: bigint): string | undefined {
  const found = symbols.nameOf(address);
  if (!found) return undefined;
  return found.offset === 0 ? found.name : `${found.name}+${found.offset}`;
}
