import type { Command } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { type Icount, icount } from "../../base/units.js";
import type { HistoryTask, TaskHistory } from "../../linux/history/task-history.js";
import type { TaskNames } from "../../linux/names/task-names.js";
import type { OpenLog } from "../../survey/tape-log.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { Tape } from "../../tape/tape.js";
import { loadHistory, wantedTask } from "../open/load-history.js";
import { openRange } from "../open/tape-range.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action } from "../shell/run.js";

/** Options that all commands over a window of branches have. */
export interface WindowFlags extends TapeOptions {
  readonly task?: string;
  readonly log?: string;
  readonly jobs?: number;
}

/** All that is needed to follow a window. */
export interface Window extends AsyncDisposable {
  readonly tape: Tape;
  readonly from: Icount;
  readonly to: Icount;
  readonly open: OpenLog;
  readonly progress: Progress;
  /** Undefined for a guest that is no Linux. */
  readonly history: TaskHistory | undefined;
  readonly names: TaskNames;
  /** Symbols of the kernel, its modules, and the files that were named when the tape was made. */
  readonly symbols: Symbols;
  readonly isWanted: ((task: HistoryTask) => boolean) | undefined;
}

/** `--log`, for commands that read branches. */
const logOption = [
  "--log <file>",
  "the tape's branch log, made by vmtape trace (default: the window is traced)",
] as const;

/** Makes a command over the branches of a tape between two positions. The caller adds options of its own. */
export function windowCommand(name: string, description: string): Command {
  return tapeCommand(name, description)
    .argument("[start]", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]")
    .argument("[end]", "the same");
}

/** Adds the last options of such a command, and its action. */
export function withWindow<Flags extends WindowFlags>(
  command: Command,
  run: (
    signal: AbortSignal,
    name: string,
    range: readonly (string | undefined)[],
    flags: Flags,
  ) => Promise<void>,
): Command {
  return command
    .option(...logOption)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(
      action(({ signal }, name: string, start: string | undefined, end: string | undefined, flags: Flags) =>
        run(signal, name, [start, end], flags),
      ),
    );
}

/**
 * Opens a tape with the branches of a window, its tasks and names.
 *
 * @param range the two positions as the user wrote them
 * @param whole true when the branches of the whole tape are needed
 * @throws `not-reached` when the end lies before the start; `not-found` for a task that does not run on the tape
 */
export async function openWindow(
  name: string,
  range: readonly (string | undefined)[],
  flags: WindowFlags,
  signal: AbortSignal,
  whole = false,
): Promise<Window> {
  const [{ tapeCache }, { buildPlugin }, { TapeSymbols }, { TaskNames }, { guestPrograms }, { windowLog }] =
    await Promise.all([
      import("../../replay/session/tape-cache.js"),
      import("../../qemu/plugin-build.js"),
      import("../../linux/names/tape-symbols.js"),
      import("../../linux/names/task-names.js"),
      import("../../linux/names/stack-programs.js"),
      import("../../survey/tape-log.js"),
    ]);
  const progress = new Progress();
  try {
    const { tape, from, to } = await openRange(name, range, flags, progress, signal);
    const places = placesOf(flags);
    const cache = tapeCache(places, tape);
    const shared = contextFor(flags, signal, progress);
    const history = await linuxHistory(tape, flags, progress, signal);
    const isWanted =
      flags.task === undefined ? undefined : history && (await wantedTask(history, flags.task));
    if (flags.task !== undefined && !isWanted) {
      throw new VmtapeError("not-found", "--task needs a guest whose tasks are known");
    }
    const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
    const open = await windowLog(tape, whole ? { from: icount(0), to: tape.end.at } : { from, to }, {
      file: flags.log,
      plugin,
      cache,
      jobs: flags.jobs ?? 1,
      ...shared,
    });
    const { symbols } = await TapeSymbols.load(tape, { cache, ...shared });
    const names = new TaskNames(history ?? (await noHistory(tape)), symbols, guestPrograms(tape));
    return {
      ...{ tape, from, to, open, progress, history, names, symbols, isWanted },
      async [Symbol.asyncDispose]() {
        progress[Symbol.dispose]();
        await open[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    progress[Symbol.dispose]();
    throw error;
  }
}

/** The history of tasks; undefined when the guest has no Linux that can be followed. */
async function linuxHistory(
  tape: Tape,
  flags: WindowFlags,
  progress: Progress,
  signal: AbortSignal,
): Promise<TaskHistory | undefined> {
  try {
    return await loadHistory(tape, flags, progress, signal);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "not-found" || flags.task !== undefined) throw error;
    note("nothing is known of tasks: all that runs is taken for one");
    return undefined;
  }
}

async function noHistory(tape: Tape): Promise<TaskHistory> {
  const { TaskHistory } = await import("../../linux/history/task-history.js");
  return new TaskHistory({
    icounts: Float64Array.of(0),
    brctrs: Float64Array.of(0),
    numbers: Int32Array.of(0),
    tasks: [{ pid: -1, tgid: -1, name: "machine", address: 0n, mm: 0n }],
    crossings: new Float64Array(0),
    spaces: [],
    end: { icount: Number(tape.end.at), brctr: 0 },
  });
}
