/** Reading strace's output, and comparing it with ours, line by line. */

import { endLines, isIgnored, settled, type TaskLines } from "../test/linux/strace-ends.js";

export interface Comparison {
  readonly tasks: number;
  readonly compared: number;
  readonly different: readonly string[];
  readonly arguments: number;
  readonly otherArguments: readonly string[];
  /** Arguments that strace shows with more than an address or a number, and we do not. */
  readonly plain: readonly string[];
  /** The other way round. */
  readonly richer: number;
  /** Signals of strace that do nothing: without a tracer the kernel drops them. */
  readonly ignored: number;
  /** Signals and calls that the kernel hides from strace. */
  readonly hidden: number;
}

/** The console's sections `@@ NUMBER`, each the output of `strace -f -o`. */
export function readStrace(console: string): ReadonlyMap<number, TaskLines> {
  const sections = new Map<number, Map<number, string[]>>();
  let tasks: Map<number, string[]> | undefined;
  const taken = new Map<number, number>();
  for (const line of console.split(/\r*\n/)) {
    const section = /^@@ (\w+)$/.exec(line)?.[1];
    if (section !== undefined) {
      tasks = new Map();
      sections.set(Number(section), tasks);
      continue;
    }
    const [, pid, text] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (!tasks || pid === undefined || text === undefined) continue;
    const by = /^\+\+\+ superseded by execve in pid (\d+)/.exec(text)?.[1];
    if (by !== undefined) taken.set(Number(pid), Number(by));
    const lines = tasks.get(Number(pid)) ?? [];
    tasks.set(Number(pid), lines);
    const resumed = /^<\.\.\. (\w+) resumed>(.*)$/.exec(text);
    if (!resumed) lines.push(text);
    else {
      // It goes on where it was interrupted by another task's line; execve by another thread with the pid of the first.
      const by = resumed[1] === "execve" ? taken.get(Number(pid)) : undefined;
      const begun = by === undefined ? lines : tasks.get(by)!;
      begun.push(`${begun.pop()!.replace(/ ?<unfinished \.\.\.>$/, "")}${resumed[2]}`);
      taken.delete(Number(pid));
    }
  }
  return sections;
}

/** Compares what strace saw of its tasks with what we tell of the same. */
export function compareTasks(theirs: TaskLines, ours: TaskLines): Comparison {
  const different: string[] = [];
  const otherArguments: string[] = [];
  const plain: string[] = [];
  const counts = { compared: 0, arguments: 0, ignored: 0, hidden: 0, richer: 0 };
  let isFirst = true;
  for (const [pid, lines] of theirs) {
    const own = ours.get(pid) ?? [];
    // What strace's child does before it becomes the program is not shown.
    const start = isFirst ? own.findIndex((line) => line.startsWith("execve(") && line.endsWith(" = 0")) : 0;
    isFirst = false;
    const pairs = paired(own.slice(Math.max(start, 0)).map(settled), lines.map(settled));
    counts.ignored += pairs.ignored;
    counts.hidden += pairs.hidden;
    for (const [mine, wanted, next] of pairs.lines) {
      counts.compared++;
      const [a, b] = [callOf(mine), callOf(wanted)];
      // Who is killed in the middle of a call does not stop for strace at its end.
      const isUnseen = b.result === "?" && /^(\+\+\+|nothing)/.test(next);
      if (a.name !== b.name || (!isSame(a.result, b.result) && !isUnseen)) {
        different.push(`${pid}: ours ${mine}\n       strace ${wanted}`);
        // From here on nothing would fit.
        if (a.name !== b.name && !/^---/.test(mine + wanted)) break;
      }
      for (const [j, text] of a.arguments.entries()) {
        const other = b.arguments[j];
        // Of clone strace shows other arguments in another order.
        if (b.name === "clone") break;
        counts.arguments++;
        if (other !== undefined && (text === other || isWhole(text, other))) continue;
        const where = `${pid}: ${a.name} argument ${j + 1}: ours ${text}, strace ${other}`;
        if (isPlain(text) && other !== undefined) plain.push(where);
        else if (other !== undefined && isPlain(other)) counts.richer++;
        else otherArguments.push(where);
      }
      if (b.arguments.length > a.arguments.length && b.name !== "clone") {
        otherArguments.push(`${pid}: ${a.name}: ours ${mine}, strace ${wanted}`);
      }
    }
  }
  return { tasks: theirs.size, ...counts, different, otherArguments, plain };
}

/** Compares only how tasks stopped and ended: strace's of a program that it followed with ours when nobody did. */
export function compareEnds(theirs: TaskLines, ours: TaskLines): Comparison {
  const [wanted, mine] = [endLines(theirs), endLines(ours)];
  const different: string[] = [];
  const counts = { compared: 0, arguments: 0, ignored: 0, hidden: 0, richer: 0 };
  for (let i = 0; i < Math.max(wanted.length, mine.length); i++) {
    const pairs = paired(mine[i] ?? [], wanted[i] ?? []);
    counts.ignored += pairs.ignored;
    counts.hidden += pairs.hidden;
    for (const [a, b] of pairs.lines) {
      counts.compared++;
      if (a !== b) different.push(`task ${i}: ours ${a}\n       strace ${b}`);
    }
  }
  return { tasks: theirs.size, ...counts, different, otherArguments: [], plain: [] };
}

/** Lines that belong together; `nothing` where there is none, and strace's next one beside it. */
function paired(mine: readonly string[], wanted: readonly string[]) {
  const lines: (readonly [string, string, string])[] = [];
  const counts = { ignored: 0, hidden: 0 };
  let [i, j] = [0, 0];
  while (i < mine.length || j < wanted.length) {
    const [a, b] = [mine[i] ?? "nothing", wanted[j] ?? "nothing"];
    if (a !== b && isIgnored(b)) {
      counts.ignored++;
      j++;
    } else if (a !== b && isHidden(a, mine[i + 1], b)) {
      counts.hidden++;
      i++;
    } else if (a !== b && a.startsWith("---") !== b.startsWith("---")) {
      lines.push(a.startsWith("---") ? [a, "nothing", ""] : ["nothing", b, ""]);
      if (a.startsWith("---")) i++;
      else j++;
    } else {
      lines.push([a, b, wanted[j + 1] ?? "nothing"]);
      i++;
      j++;
    }
  }
  return { lines, ...counts };
}

/** The kernel hides from tracers what seccomp's filter kills by, and calls that a program dispatches itself. */
function isHidden(line: string, next: string | undefined, other: string): boolean {
  if (/^\w+\(/.test(line)) return /si_code=SYS_USER_DISPATCH/.test(next ?? "") && next === other;
  return /si_code=SYS_SECCOMP/.test(line) && (next ?? "").startsWith("+++ killed by SIGSYS");
}

/** Strace cuts what is longer than 32 bytes. */
function isWhole(text: string, other: string): boolean {
  const start = other.replace(/"\.\.\.(, \.\.\.)?\]?$/, "");
  return start !== other && text.startsWith(start);
}

/** Of some results strace shows the bits. */
function isSame(a: string, b: string): boolean {
  return a === b || (/^\d+$/.test(a) && /^0x/.test(b) && BigInt(a) === BigInt(b));
}

function isPlain(text: string): boolean {
  return /^(0x[0-9a-f]+|-?\d+)$/.test(text);
}

function callOf(whole: string) {
  // What strace has no name for it says so.
  const line = whole.replace(/ \/\* \w+_\?\?\? \*\//g, "");
  const [, name, rest] = /^([\w#]+)\((.*)$/s.exec(line) ?? [];
  if (name === undefined || rest === undefined) return { name: line, result: "", arguments: [] };
  const end = rest.lastIndexOf(") ");
  const result = rest
    .slice(end + 1)
    .trim()
    .replace(/^= /, "")
    .replace(/^-1 (E\w+) .*$/, "-$1")
    .replace(/^\? (ERESTART\w+) .*$/, "-$1")
    .replace(/ \(.*\)$/, "");
  return {
    name,
    result,
    arguments: split(rest.slice(0, end)),
  };
}

/** At commas outside of strings, lists and structures. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quoted = false;
  let part = "";
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]!;
    if (letter === "\\" && quoted) part += letter + text[++i];
    else if (letter === "," && depth === 0 && !quoted) {
      parts.push(part.trim());
      part = "";
    } else {
      if (letter === '"') quoted = !quoted;
      else if (!quoted && "[{(".includes(letter)) depth++;
      else if (!quoted && "]})".includes(letter)) depth--;
      part += letter;
    }
  }
  if (part.trim() !== "") parts.push(part.trim());
  return parts.map((one) => one.replace(/ \/\* .* \*\/$/, ""));
}
