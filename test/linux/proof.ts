import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { runTool } from "../../src/base/tool.js";
import type { LinuxGuest } from "../../src/linux/guest/linux-guest.js";
import { readCommandLine } from "../../src/linux/objects/command-line.js";
import { formatLogRecord, readKernelLog } from "../../src/linux/objects/kernel-log.js";
import { formatModule, readLoadedModules } from "../../src/linux/objects/loaded-modules.js";
import { formatMapping, readMappings } from "../../src/linux/objects/mappings.js";
import { readOpenFiles } from "../../src/linux/objects/open-files.js";
import type { Task } from "../../src/linux/objects/task.js";
import { readTasks } from "../../src/linux/objects/task-list.js";
import { consoleIcount } from "../../src/replay/session/console-position.js";
import type { Tape } from "../../src/tape/tape.js";
import { type GuestAccount, readAccount, readyOffset } from "./proof-guest.js";

/** How much was compared, and where the guest's own account and vmtape's differ. */
export interface Verdict {
  readonly compared: number;
  readonly differences: readonly string[];
}

/** Compiles the program whose tasks have objects of all kinds. Returns its path. */
export async function buildObjects(output: string): Promise<string> {
  const source = fileURLToPath(new URL("./many-objects.c", import.meta.url));
  await runTool("gcc", ["-O2", "-static", "-pthread", "-o", output, source]);
  return output;
}

/** The guest prints at least so many processes. */
const leastProcesses = 8;

/** The account of a tape of the proof guest, and the instant at which it is true. */
export async function accountOf(tape: Tape) {
  const console = await readFile(tape.layout.console);
  const at = await consoleIcount(tape, readyOffset(console));
  return { account: readAccount(console.toString("utf8")), at };
}

/** Compares a stopped proof guest with its own account. */
export async function compareWithAccount(guest: LinuxGuest, account: GuestAccount): Promise<Verdict> {
  const differences: string[] = [];
  let compared = 0;
  const same = (what: string, ours: string, theirs: string) => {
    compared++;
    if (ours !== theirs) differences.push(`${what}\n  ours:   ${ours}\n  theirs: ${theirs}`);
  };
  const tasks = await readTasks(guest);
  const byPid = new Map(tasks.map((task) => [task.pid, task]));
  compareStats(account, byPid, same);
  compareIds(account, byPid, same);
  const sections = [...account.keys()].filter((title) => title.startsWith("maps "));
  if (sections.length < leastProcesses)
    differences.push(`the guest told of ${sections.length} processes only`);
  for (const [title, theirs] of account) {
    const [what, pid] = title.split(" ");
    const task = byPid.get(Number(pid));
    if (pid === undefined) continue;
    // The program that listed the processes has ended since, as have other children of the first process.
    if (!task || isBusy(task)) continue;
    same(`${title}: lines`, (await linesOf(guest, task, what!)).join("\n"), plain(what!, theirs).join("\n"));
  }
  const modules = (await readLoadedModules(guest)).map(formatModule);
  const theirModules = account.get("modules")!.map((line) => line.replace(/ \([A-Z+-]+\)$/, ""));
  same("modules", modules.join("\n"), theirModules.map((line) => line.trim()).join("\n"));
  const { records } = await readKernelLog(guest);
  const log = records
    .map(formatLogRecord)
    .join("\n")
    .split("\n")
    .map((line) => line.trimEnd());
  const theirLog = account.get("log")!.map((line) => line.trimEnd());
  same(
    "log",
    log
      .filter((line) => line !== "")
      .slice(0, theirLog.length)
      .join("\n"),
    theirLog.join("\n"),
  );
  return { compared, differences };
}

type Same = (what: string, ours: string, theirs: string) => void;

/** The first process, which runs the script, and the programs that it started to read /proc. */
function isBusy({ pid, state }: Task): boolean {
  return pid === 1 || state === "R" || state === "X";
}

/** proc(5), /proc/PID/stat: pid (comm) state ppid … */
function compareStats(account: GuestAccount, byPid: ReadonlyMap<number, Task>, same: Same): void {
  for (const line of account.get("stat")!) {
    const [, pid, name, state, parent] = /^(\d+) \((.*)\) (\S) (\d+) /.exec(line)!;
    const task = byPid.get(Number(pid));
    if (!task || (task.name !== "sleep" && isBusy(task))) continue;
    // A kworker shows its last work there, which has changed since.
    const [ourName, theirName] = [task.name, name!].map((text) =>
      text.replace(/^(kworker\/u?[\d:]+H?)[-+].*/, "$1"),
    );
    same(`stat ${pid}`, `${ourName} ${task.parent}`, `${theirName} ${parent}`);
    // Kernel threads have worked since; tasks that sleep in user space have not.
    if (!task.isKernelThread) same(`state ${pid}`, task.state, state!);
  }
}

function compareIds(account: GuestAccount, byPid: ReadonlyMap<number, Task>, same: Same): void {
  let task: Task | undefined;
  for (const line of account.get("ids")!) {
    const [what, real, effective] = line.split(/:?\s+/);
    if (what === "Pid") task = byPid.get(Number(real));
    else if (task && what === "Uid")
      same(`uid ${task.pid}`, `${task.uid} ${task.effectiveUid}`, `${real} ${effective}`);
    else if (task && what === "Gid")
      same(`gid ${task.pid}`, `${task.gid} ${task.effectiveGid}`, `${real} ${effective}`);
  }
}

async function linesOf(guest: LinuxGuest, task: Task, what: string): Promise<string[]> {
  switch (what) {
    case "maps":
      return (await readMappings(guest, task)).map(formatMapping);
    case "cmdline":
      return [(await readCommandLine(guest, task))!.words.map((word) => `${word}|`).join("")];
    case "fd":
      // As busybox shows characters that cannot be printed.
      return (await readOpenFiles(guest, task)).map(
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
        ({ descriptor, path }) => `${descriptor} -> ${path.replace(/[\u0000-\u001f]/g, "?")}`,
      );
    default:
      return (await readOpenFiles(guest, task)).flatMap(({ descriptor, position, flags, closesOnExec }) => [
        `${descriptor} pos: ${position}`,
        `${descriptor} flags: ${(flags | (closesOnExec ? 0o2000000 : 0)).toString(8)}`,
      ]);
  }
}

/** The guest's lines in vmtape's form. */
function plain(what: string, lines: readonly string[]): string[] {
  const trimmed = lines.map((line) => line.trimEnd());
  switch (what) {
    case "fd":
      return trimmed
        .filter((line) => line.includes(" -> "))
        .map((line) => line.replace(/^.* (\d+) -> /, "$1 -> "))
        .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    case "fdinfo":
      return trimmed
        .map((line) => line.replace(/^.*\/(\d+):(\w+):\s*0*(\d+)$/, "$1 $2: $3"))
        .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    default:
      return trimmed;
  }
}
