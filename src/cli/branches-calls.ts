import { branchKindName } from "../formats/branch.js";
import type { Symbols } from "../symbols/symbols.js";
import { BranchText } from "../trace/branch-text.js";
import { formatCall } from "../trace/call-text.js";
import { type CallEvent, CallTracker } from "../trace/calls.js";
import { openBranches } from "../trace/open-branches.js";
import { parseCNumber } from "../trace/range-text.js";
import type { CallsFlags } from "./branches.js";
import { nameOf } from "./branches-dump.js";
import { loadNames } from "./branches-names.js";
import { noteDamage, nothingThere, print, rangeOf } from "./branches-range.js";
import { grouped, note, toJson } from "./output.js";
import type { CommandContext } from "./run.js";

/** Prints the call tree of a file. */
export async function printCalls({ signal }: CommandContext, file: string, flags: CallsFlags): Promise<void> {
  const range = rangeOf(flags);
  const deepest = flags.depth === undefined ? Number.POSITIVE_INFINITY : parseCNumber(flags.depth, "--depth");
  await using reader = await openBranches(file);
  noteDamage(reader);
  const symbols = await loadNames(reader, flags, signal);
  const render = flags.json ? jsonLine(symbols) : textLine(symbols);
  let text = "";
  let guesses = 0;
  const tracker = new CallTracker((event) => {
    if (event.guess) guesses++;
    if (event.depth <= deepest) text += render(event);
  }, symbols);
  let followed = 0;
  for await (const batch of reader.batches(range)) {
    followed += batch.length;
    tracker.feed(batch);
    await print(text, signal);
    text = "";
    if (signal.aborted) return;
  }
  if (followed === 0) throw nothingThere(reader);
  if (guesses > 0) note(`${grouped(guesses)} lines had to be guessed; they are marked with ?`);
}

function textLine(symbols: Symbols | undefined): (event: CallEvent) => string {
  const write = (address: bigint) => (symbols && nameOf(symbols, address)) ?? `0x${address.toString(16)}`;
  const addresses = new BranchText({ write, wideNumbers: true, details: false });
  const name = (address: bigint) => addresses.address(address);
  return (event) => `${formatCall(event, name, branchKindName(event.kind))}\n`;
}

function jsonLine(symbols: Symbols | undefined): (event: CallEvent) => string {
  return ({ type, kind, brctr, depth, from, to, stack, levels, guess }) =>
    `${toJson({
      type,
      kind: branchKindName(kind),
      brctr,
      depth,
      from: `0x${from.toString(16)}`,
      to: `0x${to.toString(16)}`,
      fromName: symbols && nameOf(symbols, from),
      toName: symbols && nameOf(symbols, to),
      stack,
      levels,
      guess,
    })}\n`;
}
