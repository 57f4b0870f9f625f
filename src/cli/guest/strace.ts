import { type Command, InvalidArgumentError } from "commander";
import { breathe } from "../../base/breathe.js";
import { VmtapeError } from "../../base/errors.js";
import { printable } from "../../base/printable.js";
import { throwIfAborted } from "../../base/stopping.js";
import type { HistoryTask } from "../../linux/history/task-history.js";
import type { SyscallEvent, TaskEvent } from "../../linux/syscall/task-events.js";
import { noSuchTask, taskOption, taskTest } from "../open/load-history.js";
import { icountOf } from "../open/locate-icount.js";
import { requireForward, writtenRange } from "../open/probe-range.js";
import { LineWriter } from "../shell/line-writer.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface StraceFlags extends TapeOptions {
  readonly task?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit?: number;
}

export function straceCommand(): Command {
  return tapeCommand(
    "strace",
    "print the system calls of the guest's tasks, with arguments, results and durations",
  )
    .option(...taskOption)
    .option("--from <position>", "leave out calls begun before this position")
    .option("--to <position>", "end here")
    .option("--limit <n>", "end after so many lines", count)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run({ signal }: CommandContext, name: string, flags: StraceFlags): Promise<void> {
  const { start, end } = await writtenRange(flags);
  using progress = new Progress();
  const open = await openCalls(name, flags);
  const { tape, cache, known } = open;
  const isWanted = flags.task === undefined ? undefined : await taskTest(known, flags.task);
  const fromIcount = start && (await icountOf(tape, start, flags, progress, signal));
  const toIcount = end && (await icountOf(tape, end, flags, progress, signal));
  requireForward(fromIcount, toIcount);
  const kernel = await open.locateKernel(progress, signal);
  const { syscallEvents } = await import("../../linux/syscall/pass.js");
  const isWhole = fromIcount === undefined && toIcount === undefined && flags.limit === undefined;
  const learner = isWhole && !known ? await kernel.learner() : undefined;
  const seen = new Map<string, HistoryTask>();
  const events = syscallEvents(tape, kernel.calls, {
    plugin: kernel.plugin,
    checkpoints: kernel.checkpoints,
    ...contextFor(flags, signal, progress),
    isWanted: (task) => {
      if (!known) seen.set(task.name, task);
      return isWanted?.(task) ?? true;
    },
    ...(learner && { learner }),
    ...(fromIcount !== undefined && { fromIcount }),
    ...(toIcount !== undefined && { toIcount }),
  });
  const { eventLine } = await import("./strace-line.js");
  const lines = new LineWriter(signal);
  let printed = 0;
  for await (const event of events) {
    await lines.add(`${flags.json ? toJson(facts(event)) : printable(eventLine(event))}\n`);
    if (signal.aborted || ++printed === flags.limit) break;
  }
  await lines.flush();
  progress[Symbol.dispose]();
  throwIfAborted(signal);
  if (learner) {
    const { keepHistory } = await import("../../linux/pass/task-pass.js");
    await keepHistory(cache, await learner.finish(tape));
  }
  if (printed > 0) return;
  if (isWanted && !known && ![...seen.values()].some(isWanted))
    throw await noSuchTask(flags.task!, seen.keys());
  note("no such system call was made there");
}

/** Opens the tape, and the history of tasks in its cache. Nothing is replayed yet. */
async function openCalls(name: string, flags: StraceFlags) {
  const [{ Tape }, { tapeCache }, { knownHistory, TaskLearner }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../linux/pass/task-pass.js"),
  ]);
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  tape.requireComplete();
  const cache = tapeCache(places, tape);
  return {
    tape,
    cache,
    known: await knownHistory(cache),
    async locateKernel(progress: Progress, signal: AbortSignal) {
      const [
        { loadKernelInSteps },
        { syscallKernel },
        { probeNamesOf },
        { TapeSymbols },
        { buildPlugin },
        { TapeIndex },
      ] = await Promise.all([
        import("../../linux/guest/kernel-cache.js"),
        import("../../linux/probe/guest-timeline.js"),
        import("../../linux/pass/probe-names.js"),
        import("../../linux/names/tape-symbols.js"),
        import("../../qemu/plugin-build.js"),
        import("../../replay/index/tape-index.js"),
      ]);
      const kernel = await loadKernelInSteps(tape.layout.kernel, cache, signal);
      const shared = contextFor(flags, signal, progress);
      const symbols = await TapeSymbols.load(tape, { cache, ...shared });
      const { place } = symbols;
      if (kernel && !place) throw new VmtapeError("not-found", "the tape's Linux kernel never gets to run");
      await breathe(signal);
      const calls = syscallKernel(tape, kernel, probeNamesOf(symbols, kernel), cache);
      await breathe(signal);
      const index = await TapeIndex.open(cache, tape.manifest.qemu);
      return {
        calls,
        learner: async () => new TaskLearner(kernel!, place!),
        plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version }),
        checkpoints: async () => {
          await index.refresh();
          return index.checkpoints;
        },
      };
    },
  };
}

function facts(event: TaskEvent) {
  const { task, from } = event;
  const who = { icount: from, pid: task.pid, tgid: task.tgid, task: task.name };
  switch (event.kind) {
    case "call":
      return { kind: "call", ...who, ...callFacts(event) };
    case "signal":
      return { kind: "signal", ...who, signal: event.signal, text: event.text };
    case "stop":
      return { kind: "stop", ...who, signal: event.signal };
    case "exit":
      return { kind: "exit", ...who, code: event.code };
    case "superseded":
      return { kind: "superseded", ...who, by: event.by };
  }
}

function callFacts({ call, way, number, arguments: values, texts, to, result }: SyscallEvent) {
  return {
    endIcount: to ?? null,
    way,
    number,
    call: call.name,
    arguments: values.slice(0, call.parameters?.length).map((value, i) => ({
      ...call.parameters?.[i],
      value: `0x${value.toString(16)}`,
      text: texts[i] ?? null,
    })),
    result: result === undefined ? null : BigInt.asIntN(64, result),
  };
}

function count(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError("it must be a positive number.");
  return Number(text);
}
