/** Reading strace's output, and comparing it with ours, line by line. */

/** Lines of each task, by pid, in order. */
export type TaskLines = ReadonlyMap<number, readonly string[]>;

export interface Comparison {
  readonly tasks: number;
  readonly compared: number;
  readonly different: readonly string[];
  readonly arguments: number;
  readonly otherArguments: readonly string[];
  /** Arguments that strace shows with more than an address or a number, and we do not. */
  readonly plainer: number;
}

/** The console's sections `@@ NUMBER`, each the output of `strace -f -o`. */
export function readStrace(console: string): ReadonlyMap<number, TaskLines> {
  const sections = new Map<number, Map<number, string[]>>();
  let tasks: Map<number, string[]> | undefined;
  for (const line of console.split(/\r*\n/)) {
    const section = /^@@ (\w+)$/.exec(line)?.[1];
    if (section !== undefined) {
      tasks = new Map();
      sections.set(Number(section), tasks);
      continue;
    }
    const [, pid, text] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (!tasks || pid === undefined || text === undefined) continue;
    const lines = tasks.get(Number(pid)) ?? [];
    tasks.set(Number(pid), lines);
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
    // It goes on where it was interrupted by another task's line.
    if (resumed !== undefined) lines.push(`${lines.pop()!.replace(/ ?<unfinished \.\.\.>$/, "")}${resumed}`);
    else lines.push(text);
  }
  return sections;
}

/** Compares what strace saw of its tasks with what we tell of the same. */
export function compareTasks(theirs: TaskLines, ours: TaskLines): Comparison {
  const different: string[] = [];
  const otherArguments: string[] = [];
  const counts = { compared: 0, arguments: 0, plainer: 0 };
  let isFirst = true;
  for (const [pid, lines] of theirs) {
    const own = ours.get(pid) ?? [];
    // What strace's child does before it becomes the program is not shown.
    const start = isFirst ? own.findIndex((line) => line.startsWith("execve(") && line.endsWith(" = 0")) : 0;
    isFirst = false;
    const mine = own.slice(start).filter((line) => !line.startsWith("---"));
    const wanted = lines.filter((line) => !line.startsWith("---"));
    for (let i = 0; i < Math.max(mine.length, wanted.length); i++) {
      counts.compared++;
      const [a, b] = [callOf(mine[i] ?? "nothing"), callOf(wanted[i] ?? "nothing")];
      // Who is killed in the middle of a call does not stop for strace at its end.
      const isUnseen = b.result === "?" && wanted[i + 1]?.startsWith("+++");
      if (a.name !== b.name || (a.result !== b.result && !isUnseen)) {
        different.push(`${pid}: ours ${mine[i]}\n       strace ${wanted[i]}`);
        if (a.name !== b.name) break; // from here on nothing would fit
      }
      for (const [j, text] of a.arguments.entries()) {
        const other = b.arguments[j];
        if (other === undefined || b.name === "clone" || b.name === "clone3") break;
        counts.arguments++;
        if (text === other || isWhole(text, other)) continue;
        if (isPlain(text)) counts.plainer++;
        else otherArguments.push(`${pid}: ${a.name} argument ${j + 1}: ours ${text}, strace ${other}`);
      }
    }
    signalsOf(own).reduce((from, signal) => {
      counts.compared++;
      const found = signalsOf(lines).indexOf(signal, from);
      if (found < 0) different.push(`${pid}: ours ${signal}, strace has none`);
      return found < 0 ? from : found + 1;
    }, 0);
  }
  return { tasks: theirs.size, ...counts, different, otherArguments };
}

function signalsOf(lines: readonly string[]): string[] {
  return lines
    .filter((line) => line.startsWith("--- ") && !/SIGSTOP|SIGTRAP/.test(line))
    .map((line) => line.replace(/, si_utime=.*\}/, "}"));
}

/** Strace cuts what is longer than 32 bytes. */
function isWhole(text: string, other: string): boolean {
  const start = other.replace(/"\.\.\.(, \.\.\.)?\]?$/, "");
  return start !== other && text.startsWith(start);
}

function isPlain(text: string): boolean {
  return /^(0x[0-9a-f]+|-?\d+)$/.test(text);
}

function callOf(line: string) {
  const [, name, rest] = /^(\w+)\((.*)$/s.exec(line) ?? [];
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
    name: name.replace(/^syscall_0x([0-9a-f]+)$/, (_, hex) => `syscall_${Number.parseInt(hex, 16)}`),
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
