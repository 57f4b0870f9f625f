import { type Command, InvalidArgumentError } from "commander";
import { breathe } from "../../base/breathe.js";
import { during } from "../../base/run-context.js";
import { throwIfAborted } from "../../base/stopping.js";
import type { TaskHistory } from "../../linux/history/task-history.js";
import type { TapeSymbols } from "../../linux/names/tape-symbols.js";
import type { ProbeSpec } from "../../linux/probe/probe.js";
import type { SyscallKernel } from "../../linux/syscall/pass.js";
import { loadHistory, taskOption, taskTest } from "../open/load-history.js";
import { openTape } from "../open/open-tape.js";
import { requireForward, writtenRange } from "../open/probe-range.js";
import { LineWriter } from "../shell/line-writer.js";
import { placesOf, qemuOption, several, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";
import { expressionsIn, HitPrinter, printsOf } from "./probe-line.js";

interface ProbeFlags extends TapeOptions {
  readonly when?: string;
  readonly print?: readonly string[];
  readonly return?: boolean;
  readonly stack?: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly task?: string;
  readonly limit?: number;
}

export function probeCommand(): Command {
  return tapeCommand("probe", "print a line each time a place of the guest is reached, with values")
    .argument(
      "<where>",
      "a symbol, a pattern, FILE:LINE, PROGRAM:FUNCTION, 0xADDR, sys_enter:NAME, sys_exit:NAME, task:switch|fork|exec|exit, irq or page-fault",
    )
    .option("--when <expr>", "only where this expression is not zero: 'count > 100 && current->pid == 1'")
    .option(
      "--print <format|expr>",
      "an expression, or a text with {EXPR} in it; repeatable (default: the function's parameters)",
      several,
    )
    .option("--return", "tell the function's returns, too, with $retval")
    .option("--stack", "who called it")
    .option("--from <position>", "begin here")
    .option("--to <position>", "end here")
    .option(...taskOption)
    .option("--limit <n>", "end after so many hits", count)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(context: CommandContext, name: string, where: string, flags: ProbeFlags): Promise<void> {
  const { signal } = context;
  const { start, end } = await writtenRange(flags);
  const specOf = probeSpec(where, flags);
  using progress = new Progress();
  const known = await lookAtNames(name, where, flags, signal);
  // A probe in a program needs the history of tasks, which tells where the program is mapped. All other mistakes are
  // reported before anything takes time.
  const history = known.isInProgram
    ? await loadHistory(known.tape, flags, progress, signal)
    : await known.history();
  await known.probes(known.names, history).add(specOf);
  await breathe(signal);
  const isWanted = flags.task === undefined ? undefined : await taskTest(history, flags.task);
  await using open = await openTape(name, flags, progress, signal);
  const since = start && (await open.locate(flags.from!, { signal })).icount;
  const to = end && (await open.locate(flags.to!, { signal })).icount;
  requireForward(since, to);
  const probes = known.probes(open.symbols, history);
  await probes.add(specOf);
  const { plugin, checkpoints } = open.options;
  const hits = probes.run({
    ...during(open.options, "probing"),
    plugin,
    checkpoints,
    since,
    to,
    follow: true,
    signal,
  });
  const printer = new HitPrinter(open, where, flags, signal);
  const lines = new LineWriter(signal);
  const others = new Set<string>();
  let told = 0;
  for await (const hit of hits) {
    if (isWanted && !(hit.task && isWanted(hit.task))) {
      if (hit.task && others.size < mostOthers) others.add(hit.task.name);
      continue;
    }
    await lines.add(await printer.line(hit));
    if (signal.aborted || ++told === flags.limit) break;
  }
  await lines.flush();
  progress[Symbol.dispose]();
  throwIfAborted(signal);
  if (told === 0) {
    const whose = others.size > 0 ? ` by '${flags.task}', but by ${[...others].join(", ")}` : "";
    note(`${where} is never reached there${whose}`);
  }
  if (probes.unreturned > 0)
    note(`calls that were left without a return, or still ran: ${probes.unreturned}`);
}

const mostOthers = 8;

/** The probe that the options ask for. */
function probeSpec(where: string, flags: ProbeFlags): ProbeSpec {
  const prints = printsOf(where, flags.print);
  return {
    where,
    when: flags.when,
    print: expressionsIn(prints.hit),
    printOnReturn: expressionsIn(prints.return),
    returns: flags.return || prints.return !== undefined,
  };
}

/** The names and types from the tape's files. Nothing is replayed. */
async function lookAtNames(name: string, where: string, flags: ProbeFlags, signal: AbortSignal) {
  const [
    { Probes },
    { isEvent, probePlaces },
    { probeNamesOf },
    { loadKernelInSteps },
    { TapeSymbols },
    { syscallKernel },
    { knownHistory },
    { tapeCache },
    { Tape },
    { ProgramPlaces, programWords },
    { guestPrograms },
  ] = await Promise.all([
    import("../../linux/probe/probes.js"),
    import("../../linux/probe/places.js"),
    import("../../linux/pass/probe-names.js"),
    import("../../linux/guest/kernel-cache.js"),
    import("../../linux/names/tape-symbols.js"),
    import("../../linux/probe/guest-timeline.js"),
    import("../../linux/pass/task-pass.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../tape/tape.js"),
    import("../../linux/probe/program-places.js"),
    import("../../linux/names/stack-programs.js"),
  ]);
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  tape.requireComplete();
  const cache = tapeCache(places, tape);
  const known = await TapeSymbols.loadNames(tape, cache);
  const programs = guestPrograms(tape);
  const past = await knownHistory(cache);
  const isInProgram = !isEvent(where) && (programWords(where) !== undefined || isMoved(where));
  // A wrong name, the most common mistake, is reported before the kernel's types are unpacked.
  if (!isEvent(where) && !isInProgram && !past) probePlaces(where, probeNamesOf(known, undefined));
  await breathe(signal);
  const kernel = await loadKernelInSteps(tape.layout.kernel, cache, signal);
  let calls: SyscallKernel | undefined;
  let inPrograms: InstanceType<typeof ProgramPlaces> | undefined;
  return {
    tape,
    names: known,
    /** Is it a place in a program, whose addresses only the history of tasks tells? */
    isInProgram,
    history: async () => past,
    probes: (symbols: TapeSymbols, history?: TaskHistory) => {
      const names = probeNamesOf(symbols, kernel);
      if (history) inPrograms ??= new ProgramPlaces(history, programs);
      const callsNow = () => {
        calls = { ...(calls ?? syscallKernel(tape, kernel, names, cache)), names };
        return calls;
      };
      return new Probes(tape, names, history, callsNow, inPrograms);
    },
  };

  /** Is it a name that is only in position-independent programs given with `--symbols`? */
  function isMoved(text: string): boolean {
    const found = known.symbols.resolve(text);
    return found.length > 0 && found.every(({ source }) => programs.isMovable(source));
  }
}

function count(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError("it must be a positive number.");
  return Number(text);
}
