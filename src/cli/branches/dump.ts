import { throwIfAborted } from "../../base/stopping.js";
import { type BranchBatch, branchKindName } from "../../formats/branch.js";
import type { TaskNames } from "../../linux/names/task-names.js";
import { formatAddress, formatPlace } from "../../symbols/names/symbol-format.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { BranchReader } from "../../trace/branch-reader.js";
import { BranchText, type BranchTextOptions } from "../../trace/branch-text.js";
import { openBranches } from "../../trace/open-branches.js";
import { note, print, toJson } from "../shell/output.js";
import type { CommandContext } from "../shell/run.js";
import type { DumpFlags } from "./flags.js";
import { loadNames } from "./names.js";
import { noteDamage, nothingThere, rangeOf } from "./range.js";
import { byTask } from "./task.js";

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
    const isCut = symbols !== undefined || flags.task !== undefined;
    const cut = isCut ? await byTask(reader, range, flags, symbols, signal) : undefined;
    const names = symbols && (cut?.names ?? symbols);
    const texts = new Map<bigint | undefined, BranchText>();
    const textHere = () => {
      // One text maker for each address space, since user addresses have other names in another.
      const space = cut?.names.space;
      const text = texts.get(space) ?? new BranchText(textOptions(reader, flags, names));
      texts.set(space, text);
      return text;
    };
    const render = flags.json
      ? (batch: BranchBatch) => jsonLines(batch, names)
      : (batch: BranchBatch) => textHere().lines(batch);
    let printed = 0;
    for (const piece of cut?.pieces ?? [{ index: undefined, range }]) {
      if (piece.index !== undefined) await cut?.names.enter(piece.index);
      for await (const batch of reader.batches(piece.range)) {
        printed += batch.length;
        await print(render(batch), signal);
        throwIfAborted(signal);
      }
    }
    for (const text of symbols?.notes ?? []) note(text);
    if (printed === 0) throw nothingThere(reader);
  }
}

/** The tape's symbols, or the names for the task that runs. */
type Names = Symbols | TaskNames;

function textOptions(reader: BranchReader, flags: DumpFlags, names: Names | undefined): BranchTextOptions {
  return {
    write: names && addressWriter(names, flags.names ? "full" : "gdb"),
    wideNumbers: flags.extended === true || reader.info.format !== "bts",
    details: flags.extended === true,
  };
}

function addressWriter(names: Names, style: "gdb" | "full"): (address: bigint) => string {
  return (address) => {
    const located = names.lookup(address);
    const file = located || !("fileOf" in names) ? undefined : names.fileOf(address);
    const text = formatAddress(address, located, style);
    return file === undefined ? text : `${text} <${file}>`;
  };
}

function jsonLines(batch: BranchBatch, symbols: Names | undefined): string {
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
function lineOf(symbols: Names, address: bigint): string | undefined {
  const place = symbols.lookup(address)?.place;
  return place && formatPlace(place);
}

/** `name+offset`, for JSON. */
export function nameOf(symbols: Names, address: bigint): string | undefined {
  const found = symbols.nameOf(address);
  if (!found) return "fileOf" in symbols ? symbols.fileOf(address) : undefined;
  return found.offset === 0 ? found.name : `${found.name}+${found.offset}`;
}
