import { throwIfAborted } from "../../base/stopping.js";
import { branchKindName } from "../../formats/branch.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import { BranchText } from "../../trace/branch-text.js";
import { formatCall } from "../../trace/call-text.js";
import { type CallEvent, CallTracker, type FunctionNames } from "../../trace/calls.js";
import { openBranches } from "../../trace/open-branches.js";
import { parseCNumber } from "../../trace/range-text.js";
import { grouped, note, print, toJson } from "../shell/output.js";
import type { CommandContext } from "../shell/run.js";
import { nameOf } from "./dump.js";
import type { CallsFlags } from "./flags.js";
import { loadNames } from "./names.js";
import { noteDamage, nothingThere, rangeOf } from "./range.js";
import { byTask } from "./task.js";

/** Prints the call tree of a file. */
export async function printCalls({ signal }: CommandContext, file: string, flags: CallsFlags): Promise<void> {
  const range = rangeOf(flags);
  const deepest = flags.depth === undefined ? Number.POSITIVE_INFINITY : parseCNumber(flags.depth, "--depth");
  await using reader = await openBranches(file);
  noteDamage(reader);
  const symbols = await loadNames(reader, flags, signal);
  const cut = await byTask(reader, range, flags, symbols, signal);
  const names = cut?.names ?? (symbols && namesOf(symbols));
  const render = flags.json ? jsonLine(names) : textLine(names);
  let text = "";
  let guesses = 0;
  const tracker = new CallTracker(
    (event) => {
      if (event.guess) guesses++;
      if (event.depth <= deepest) text += render(event);
    },
    names,
    // When only one task is followed, each return from a switch is its own.
    flags.task === undefined ? {} : { switchFunctions: [] },
  );
  let followed = 0;
  for (const piece of cut?.pieces ?? [{ index: undefined, range }]) {
    if (piece.index !== undefined) await cut?.names.enter(piece.index);
    for await (const batch of reader.batches(piece.range)) {
      followed += batch.length;
      tracker.feed(batch);
      await print(text, signal);
      text = "";
      throwIfAborted(signal);
    }
  }
  for (const text of symbols?.notes ?? []) note(text);
  if (followed === 0) throw nothingThere(reader);
  if (guesses > 0) note(`${grouped(guesses)} lines had to be guessed; they are marked with ?`);
}

/** Names of addresses at the instant up to which the file was read. */
interface Names extends FunctionNames {
  /** `name+offset`. */
  describe(address: bigint): string | undefined;
  /** The address space. User addresses have the same names while it is the same. */
  readonly space?: bigint;
}

function namesOf(symbols: Symbols): Names {
  return {
    nameOf: (address) => symbols.nameOf(address),
    describe: (address) => nameOf(symbols, address),
  };
}

function textLine(names: Names | undefined): (event: CallEvent) => string {
  const write = (address: bigint) => names?.describe(address) ?? `0x${address.toString(16)}`;
  const texts = new Map<bigint | undefined, BranchText>();
  const name = (address: bigint) => {
    const space = names?.space;
    let text = texts.get(space);
    if (!text) {
      text = new BranchText({ write, wideNumbers: true, details: false });
      texts.set(space, text);
    }
    return text.address(address);
  };
  return (event) => `${formatCall(event, name, branchKindName(event.kind))}\n`;
}

function jsonLine(names: Names | undefined): (event: CallEvent) => string {
  return ({ type, kind, brctr, depth, from, to, stack, levels, guess }) =>
    `${toJson({
      type,
      kind: branchKindName(kind),
      brctr,
      depth,
      from: `0x${from.toString(16)}`,
      to: `0x${to.toString(16)}`,
      fromName: names?.describe(from),
      toName: names?.describe(to),
      stack,
      levels,
      guess,
    })}\n`;
}
