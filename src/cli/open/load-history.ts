import { VmtapeError } from "../../base/errors.js";
import type { HistoryTask, TaskHistory } from "../../linux/history/task-history.js";
import type { Tape } from "../../tape/tape.js";
import { contextFor, placesOf, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";

/** `--task`, for commands that cut by task. */
export const taskOption = [
  "--task <name|pid>",
  "only what this task did: a name, or the pid of a process or thread",
] as const;

/**
 * The history of a tape's tasks: from its cache, or by a replay.
 *
 * @throws as `taskHistory`; `not-found` when the tape's kernel is no Linux
 */
export async function loadHistory(
  tape: Tape,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<TaskHistory> {
  const [{ loadKernelInSteps }, { knownHistory, taskHistory }, { buildPlugin }, { tapeCache }] =
    await Promise.all([
      import("../../linux/guest/kernel-cache.js"),
      import("../../linux/pass/task-pass.js"),
      import("../../qemu/plugin-build.js"),
      import("../../replay/session/tape-cache.js"),
    ]);
  const places = placesOf(flags);
  const cache = tapeCache(places, tape);
  const known = await knownHistory(cache); // before the kernel is unpacked
  if (known) return known;
  const kernel = await loadKernelInSteps(tape.layout.kernel, cache, signal);
  if (!kernel) {
    throw new VmtapeError("not-found", `the tape ${tape.name} holds no Linux kernel with symbols`, {
      file: tape.layout.kernel,
    });
  }
  return taskHistory(tape, kernel, {
    plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version }),
    cache,
    ...contextFor(flags, signal, progress),
  });
}

/**
 * The test for the tasks that `--task` names.
 *
 * @throws VmtapeError `not-found`, with the names that come nearest, when no task of the tape passes
 */
export async function wantedTask(
  history: TaskHistory,
  text: string,
): Promise<(task: HistoryTask) => boolean> {
  const { taskMatcher } = await import("../../linux/history/task-history.js");
  const isWanted = taskMatcher(text);
  if (history.tasks.some(isWanted)) return isWanted;
  throw await noSuchTask(
    text,
    history.tasks.map(({ name }) => name),
  );
}

/** As {@link wantedTask}, but without a history no names can be checked. */
export async function taskTest(
  history: TaskHistory | undefined,
  text: string,
): Promise<(task: HistoryTask) => boolean> {
  if (history) return wantedTask(history, text);
  const { taskMatcher } = await import("../../linux/history/task-history.js");
  return taskMatcher(text);
}

/** The error when no task has this name or pid. */
export async function noSuchTask(text: string, all: Iterable<string>): Promise<VmtapeError> {
  const { nearestOf } = await import("../../linux/probe/check.js");
  const names = [...new Set(all)];
  const nearest = nearestOf(text, names);
  const some = names.slice(0, mostNames).join(", ");
  const hint =
    nearest.length > 0
      ? `the nearest is ${nearest.join(", ")}`
      : `there are ${some}${names.length > mostNames ? " …" : ""}`;
  return new VmtapeError("not-found", `no task '${text}' ever runs; ${hint}`, { got: text, nearest });
}

const mostNames = 12;
