import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { HistoryTask } from "../../linux/history/task-history.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { CodePiece, Coverage, CoveredLine, CoveredPiece } from "../../views/coverage.js";
import { taskOption } from "../open/load-history.js";
import { grouped, say, toJson } from "../shell/output.js";
import { type Column, sayTable } from "../shell/table.js";
import { openWindow, type WindowFlags, windowCommand, withWindow } from "./window.js";

interface CoverageFlags extends WindowFlags {
  readonly lines?: string;
  readonly missed?: boolean;
  readonly top: number;
}

export function coverageCommand(): Command {
  return withWindow(
    windowCommand("coverage", "tell which code ran, how often, and which did not")
      .option("--lines <file>", "the lines of this source file (needs debug information)")
      .option("--missed", "the functions that did not run")
      .option("--top <n>", "so many lines", count, 30)
      .option(...taskOption),
    async (signal, name, range, flags: CoverageFlags) => {
      const { coverLog } = await import("../../survey/tape-coverage.js");
      await using window = await openWindow(name, range, flags, signal);
      const { from, to, progress, history, symbols, isWanted } = window;
      const coverage = await coverLog(window.open.log, {
        from: Number(from),
        to: Number(to),
        history,
        isWanted,
        onProgress: progress.sink,
        signal,
      });
      progress[Symbol.dispose]();
      const lines = flags.lines === undefined ? undefined : linesOf(coverage, symbols, flags.lines);
      if (flags.json) {
        const functions = functionsOf(symbols).map((piece) => ranOf(coverage, piece));
        const ranges = [...coverage.ranges()].map((range) => rangeFacts(range, history?.tasks ?? []));
        say(toJson({ from, to, functions: functions.map(pieceFacts), ranges, ...(lines && { lines }) }));
        return;
      }
      if (lines) return await sayTable(lineColumns, lines);
      const functions = functionsOf(symbols).map((piece) => ranOf(coverage, piece));
      const ran = functions.filter(({ most }) => most > 0).sort((a, b) => b.entries - a.entries);
      say(`${grouped(ran.length)} of ${grouped(functions.length)} functions with names ran`);
      const shown = flags.missed ? functions.filter(({ most }) => most === 0) : ran;
      await sayTable(pieceColumns, shown.slice(0, flags.top));
    },
  );
}

/** Letters of `nm` for code. */
const codeKinds = new Set(["t", "T", "w", "W", "i"].map((letter) => letter.charCodeAt(0)));

/** All functions that have names, each once, by address. */
function functionsOf(symbols: Symbols): CodePiece[] {
  const starts = new Map<bigint, CodePiece>();
  for (const { table, bias = 0n } of symbols.sources) {
    for (let i = 0; i < table.starts.length; i++) {
      if (!codeKinds.has(table.kinds[i]!)) continue;
      const start = BigInt.asUintN(64, BigInt(table.starts[i]!) + bias);
      const named = starts.has(start) ? undefined : symbols.nameOf(start);
      if (named?.offset !== 0) continue;
      starts.set(start, { name: named.name, start, end: start + BigInt(table.sizes[i]!) });
    }
  }
  const all = [...starts.values()].sort((a, b) => (a.start < b.start ? -1 : 1));
  // A function without a size reaches to the next one.
  return all.map((piece, i) =>
    piece.end > piece.start ? piece : { ...piece, end: all[i + 1]?.start ?? piece.start + 1n },
  );
}

/** What was executed of a function, in all address spaces. */
function ranOf(coverage: Coverage, piece: CodePiece): CoveredPiece {
  const isKernel = piece.start >= 1n << 63n;
  const spaces = isKernel ? [-1] : coverage.spaces.filter((space) => space >= 0);
  return spaces
    .map((space) => coverage.pieces([piece], space)[0]!)
    .reduce(
      (sum, one) => ({
        ...piece,
        entries: sum.entries + one.entries,
        most: Math.max(sum.most, one.most),
        bytes: Math.max(sum.bytes, one.bytes),
      }),
      { ...piece, entries: 0, most: 0, bytes: 0 },
    );
}

/** The lines of a file that have code, in order. */
function linesOf(coverage: Coverage, symbols: Symbols, file: string): CoveredLine[] {
  const lines: CoveredLine[] = [];
  for (let next = 1; ; ) {
    const found = symbols.findLine(file, next);
    if (found.length === 0) break;
    const { file: path, line } = found[0]!.place;
    const counts = found.map(({ address }) => coverage.countAnywhere(address));
    lines.push({ file: path, line, count: Math.max(...counts) });
    next = line + 1;
  }
  if (lines.length > 0) return lines;
  throw new VmtapeError("not-found", `no debug information tells of a source file '${file}'`, { got: file });
}

const pieceColumns: readonly Column<CoveredPiece>[] = [
  { head: "TIMES", align: "right", text: ({ entries }) => grouped(entries) },
  { head: "MOST", align: "right", text: ({ most }) => grouped(most) },
  { head: "RAN", align: "right", text: ({ bytes, start, end }) => share(bytes, Number(end - start)) },
  { head: "ADDRESS", text: ({ start }) => hex(start) },
  { head: "FUNCTION", text: ({ name }) => name },
];
const lineColumns: readonly Column<CoveredLine>[] = [
  { head: "TIMES", align: "right", text: (one) => grouped(one.count) },
  { head: "LINE", text: ({ file, line }) => `${file}:${line}` },
];

function share(part: number, whole: number): string {
  return whole === 0 ? "" : `${((100 * part) / whole).toFixed(0)} %`;
}

function pieceFacts({ name, start, end, entries, most, bytes }: CoveredPiece) {
  return { name, start: hex(start), bytes: Number(end - start), entries, most, ran: bytes };
}

function rangeFacts(
  { space, start, end, count: times }: ReturnType<Coverage["ranges"]> extends Generator<infer R> ? R : never,
  tasks: readonly HistoryTask[],
) {
  const task = tasks[space - 1];
  return { start: hex(start), end: hex(end), count: times, ...(task && { pid: task.pid, task: task.name }) };
}

function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError("it must be a number from 1 to 999999.");
  return Number(text);
}
