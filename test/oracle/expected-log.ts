import type { BranchKind, BranchRecord } from "./branch-record.js";
import { branchKinds } from "./branch-record.js";

/**
 * The expected branch log beside a tiny guest (`test/guests/NAME.branches`), and the check of a log against it.
 *
 *     FROM -> TO  KIND           one record
 *     FROM -> TO  KIND  x9       nine of them;  `any`: as many as there are
 *     repeat 9 … end             the records between, nine times
 *     anywhere, at least 3 … end the records between may come before any other record, three times or more
 *
 * A place is `LABEL`, `LABEL+n`, `LABEL-n` (n decimal), `0x…`, or inside `anywhere` the address `*`, which is the
 * same each time in one turn: an interrupt returns to where it came from. `#` begins a comment.
 */
export interface ExpectedLog {
  readonly lines: readonly ExpectedLine[];
  readonly anywhere?: { readonly lines: readonly ExpectedLine[]; readonly least: number };
}

export interface ExpectedLine {
  /** Undefined is `*`. */
  readonly from: bigint | undefined;
  readonly to: bigint | undefined;
  readonly kind: BranchKind;
  /** May come any number of times, or not at all. */
  readonly any: boolean;
  readonly source: string;
}

/** @param symbols addresses of the guest's labels; @throws Error that names the line */
export function parseExpectedLog(text: string, symbols: ReadonlyMap<string, bigint>): ExpectedLog {
  const lines: ExpectedLine[] = [];
  let anywhere: { lines: ExpectedLine[]; least: number } | undefined;
  let block: { lines: ExpectedLine[]; times: number } | undefined;
  text.split("\n").forEach((whole, index) => {
    const line = whole.replace(/#.*/, "").trim();
    const repeat = line.match(/^repeat (\d+)$/);
    const floating = line.match(/^anywhere, at least (\d+)$/);
    const record = line.match(/^(\S+) -> (\S+)\s+(\S+)(?:\s+(x\d+|any))?$/);
    if (line === "") return;
    if (repeat) block = { lines: [], times: Number(repeat[1]) };
    else if (floating) {
      anywhere = { lines: [], least: Number(floating[1]) };
      block = { lines: anywhere.lines, times: 0 };
    } else if (line === "end" && block) {
      for (let i = 0; i < block.times; i++) lines.push(...block.lines);
      block = undefined;
    } else if (record && branchKinds.includes(record[3] as BranchKind)) {
      const expected: ExpectedLine = {
        from: place(record[1]!, symbols),
        to: place(record[2]!, symbols),
        kind: record[3] as BranchKind,
        any: record[4] === "any",
        source: `${index + 1}: ${line}`,
      };
      const times = record[4]?.startsWith("x") ? Number(record[4].slice(1)) : 1;
      for (let i = 0; i < times; i++) (block?.lines ?? lines).push(expected);
    } else throw new Error(`line ${index + 1} of an expected log is not understood: ${whole}`);
  });
  return { lines, ...(anywhere && { anywhere }) };
}

function place(text: string, symbols: ReadonlyMap<string, bigint>): bigint | undefined {
  if (text === "*") return undefined;
  if (text.startsWith("0x")) return BigInt(text);
  const [, label, offset] = text.match(/^([A-Za-z_]\w*)([+-]\d+)?$/) ?? [];
  const address = symbols.get(label ?? "");
  if (address === undefined) throw new Error(`the guest has no label ${text}`);
  return address + BigInt(offset ?? 0);
}

/**
 * Compares a log with what is expected.
 *
 * @returns undefined when it is as expected; otherwise a sentence about the first record that is not
 */
export function checkLog(
  records: readonly BranchRecord[],
  expected: ExpectedLog,
  symbols: ReadonlyMap<string, bigint>,
): string | undefined {
  const name = namer(symbols);
  const show = (r: BranchRecord | undefined) =>
    r ? `${name(r.from)} -> ${name(r.to)} ${r.kind}` : "the end";
  const { lines, anywhere } = expected;
  let turns = 0;
  let at = 0;
  const floats = (): boolean => {
    if (anywhere === undefined) return false;
    let star: bigint | undefined;
    for (const [i, line] of anywhere.lines.entries()) {
      const record = records[at + i];
      if (record === undefined || !matches(record, line, star)) return false;
      if (line.from === undefined) star = record.from;
    }
    at += anywhere.lines.length;
    turns++;
    return true;
  };
  for (const line of lines) {
    // The expected record first: a floating one that looks the same must be an expected one too.
    while (line.any && (floats() || matches(records[at], line, undefined)))
      if (matches(records[at], line, undefined)) at++;
    if (line.any) continue;
    while (!matches(records[at], line, undefined)) {
      if (!floats()) return `record ${at} is ${show(records[at])}, expected line ${line.source}`;
    }
    at++;
  }
  while (floats());
  if (at < records.length) return `record ${at} is ${show(records[at])}, expected the end`;
  if (anywhere && turns < anywhere.least)
    return `interrupts came ${turns} times, expected ${anywhere.least} or more`;
  return undefined;
}

function matches(record: BranchRecord | undefined, line: ExpectedLine, star: bigint | undefined): boolean {
  if (record === undefined || record.kind !== line.kind) return false;
  if (line.from !== undefined && record.from !== line.from) return false;
  const to = line.to ?? star;
  return to === undefined || record.to === to;
}

/** Addresses as `label+n`, where a label lies at most a page below. */
export function namer(symbols: ReadonlyMap<string, bigint>): (address: bigint) => string {
  const sorted = [...symbols].sort((a, b) => (a[1] < b[1] ? -1 : 1));
  return (address) => {
    let best: [string, bigint] | undefined;
    for (const entry of sorted) {
      if (entry[1] > address) break;
      if (address - entry[1] < 4096n) best = entry;
    }
    if (best === undefined) return `0x${address.toString(16)}`;
    return best[1] === address ? best[0] : `${best[0]}+${address - best[1]}`;
  };
}
