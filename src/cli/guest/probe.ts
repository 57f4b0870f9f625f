import { type Command, InvalidArgumentError } from "commander";
import { breathe } from "../../base/breathe.js";
import { isVmtapeError } from "../../base/errors.js";
import { printable } from "../../base/printable.js";
import { during } from "../../base/run-context.js";
import { throwIfAborted, throwIfCancelled } from "../../base/stopping.js";
import { firstKernelAddress, hex } from "../../base/units.js";
import type { HistoryTask, TaskHistory } from "../../linux/history/task-history.js";
import type { TapeSymbols } from "../../linux/names/tape-symbols.js";
import type { ProbeHitEvent, ProbeValue } from "../../linux/probe/hit.js";
import type { ProbeSpec } from "../../linux/probe/probe.js";
import type { SyscallKernel } from "../../linux/syscall/pass.js";
import { formatPosition } from "../../replay/session/position.js";
import { loadHistory, taskOption, taskTest } from "../open/load-history.js";
import { type OpenTimeline, openTimeline } from "../open/open-timeline.js";
import { requireForward, writtenRange } from "../open/probe-range.js";
import { LineWriter } from "../shell/line-writer.js";
import { placesOf, qemuOption, several, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

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
  // Where programs lie is known once their tasks are; all other mistakes are told before anything takes time.
  const history = known.isInProgram
    ? await loadHistory(known.tape, flags, progress, signal)
    : await known.history();
  await known.probes(known.names, history).add(specOf);
  await breathe(signal);
  const isWanted = flags.task === undefined ? undefined : await taskTest(history, flags.task);
  await using open = await openTimeline(name, flags, progress, signal);
  const since = start && (await open.locate(flags.from!, signal)).icount;
  const to = end && (await open.locate(flags.to!, signal)).icount;
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

/** What the user asks for, as a probe. */
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

/** The tape's names and types, as far as its files tell. Nothing is replayed. */
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
  // The commonest mistake is told before the kernel's types are unpacked.
  if (!isEvent(where) && !isInProgram && !past) probePlaces(where, probeNamesOf(known, undefined));
  await breathe(signal);
  const kernel = await loadKernelInSteps(tape.layout.kernel, cache, signal);
  let calls: SyscallKernel | undefined;
  let inPrograms: InstanceType<typeof ProgramPlaces> | undefined;
  return {
    tape,
    names: known,
    /** Is it a place in a program, and its addresses are known from the history of tasks alone? */
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

  /** Is it a name in a position-independent program that was given with `--symbols`, and nowhere else? */
  function isMoved(text: string): boolean {
    const found = known.symbols.resolve(text);
    return found.length > 0 && found.every(({ source }) => programs.isMovable(source));
  }
}

/** `{EXPR}` in a text. */
const placeholder = /\{([^{}]+)\}/g;
/** What is printed at a hit, and what at a return: there `$retval` is known, and the parameters are not any more. */
function printsOf(
  where: string,
  texts: readonly string[] | undefined,
): Record<ProbeHitEvent["kind"], readonly string[] | undefined> {
  if (where.startsWith("sys_exit:")) return { hit: texts, return: undefined };
  const onReturn = texts?.filter((text) => /\$retval\b/.test(text)) ?? [];
  const hit = texts?.filter((text) => !onReturn.includes(text));
  return { hit, return: onReturn.length > 0 ? onReturn : undefined };
}

/** The expressions of some `--print`s, in order. */
function expressionsIn(prints: readonly string[] | undefined): string[] | undefined {
  return prints?.flatMap((text) => {
    const inside = [...text.matchAll(placeholder)].map(([, expression]) => expression!);
    return inside.length > 0 ? inside : [text];
  });
}

/** Writes hits as lines. What a hit did not bring along is looked up at the machine, by a visit there. */
class HitPrinter {
  private readonly open: OpenTimeline;
  private readonly prints: ReturnType<typeof printsOf>;
  private readonly flags: ProbeFlags;
  private readonly signal: AbortSignal;

  constructor(open: OpenTimeline, where: string, flags: ProbeFlags, signal: AbortSignal) {
    this.open = open;
    this.prints = printsOf(where, flags.print);
    this.flags = flags;
    this.signal = signal;
  }

  async line(hit: ProbeHitEvent): Promise<string> {
    const { json, stack } = this.flags;
    const values: { expression: string; value: string }[] = [];
    for (const value of hit.values) {
      values.push({ expression: value.expression, value: value.text ?? (await this.lookUp(hit, value)) });
    }
    const frames = stack ? await this.stackOf(hit) : undefined;
    if (json) return `${toJson(this.facts(hit, values, frames))}\n`;
    const where = formatPosition(hit.position, this.nameOf(hit));
    const who = hit.task ? `${taskText(hit.task)}  ` : "";
    const verb = hit.kind === "return" && hit.what === undefined ? `${hit.label} returned ` : "";
    const doubt = hit.isCertain ? "" : "  (or was left before)";
    const lasted = hit.instructions === undefined ? "" : `  (${grouped(hit.instructions)} instructions)`;
    const told = [hit.what ?? "", this.valueText(hit, values)].filter((text) => text !== "").join("  ");
    const line = printable(`${where}  ${who}${verb}${told}${lasted}${doubt}`.trimEnd());
    return `${[line, ...(frames ?? []).map((frame) => `    ${printable(frame)}`)].join("\n")}\n`;
  }

  /** What lies where a program is mapped, only the probe itself knows. */
  private nameOf({ pc, kind, label }: ProbeHitEvent): string | undefined {
    const isLabel = kind === "hit" && pc < firstKernelAddress && !/^0x/.test(label);
    return this.open.symbols.describe(pc) ?? (isLabel ? label : undefined);
  }

  private valueText(hit: ProbeHitEvent, values: readonly { expression: string; value: string }[]): string {
    const prints = this.prints[hit.kind];
    if (!prints) {
      const isResult = hit.kind === "return";
      return values
        .map(({ expression, value }) => (isResult ? value : `${expression} = ${value}`))
        .join(", ");
    }
    let next = 0;
    return prints
      .map((text) => {
        if (text.search(placeholder) >= 0)
          return text.replace(placeholder, () => values[next++]?.value ?? "?");
        const { expression, value } = values[next++]!;
        return `${expression} = ${value}`;
      })
      .join(", ");
  }

  private facts(hit: ProbeHitEvent, values: readonly object[], frames: readonly string[] | undefined) {
    const { kind, label, icount, brctr, pc, task, what, instructions, number } = hit;
    return {
      kind,
      where: label,
      icount,
      brctr: brctr ?? null,
      pc: hex(pc),
      rep: hit.rep,
      symbol: this.nameOf(hit) ?? null,
      hit: number,
      pid: task && task.pid >= 0 ? task.pid : null,
      tgid: task && task.tgid >= 0 ? task.tgid : null,
      task: task?.name ?? null,
      ...(what !== undefined && { what }),
      ...(instructions !== undefined && { instructions, certain: hit.isCertain }),
      values,
      ...(frames && { stack: frames }),
    };
  }

  /** A value that needs the machine: at the instant of the hit. */
  private async lookUp(hit: ProbeHitEvent, { expression, plan, error }: ProbeValue): Promise<string> {
    if (error && error.code !== "not-found") return `<${error.message}>`;
    await this.goTo(hit);
    try {
      if (error || hit.pc < firstKernelAddress) return await this.withDebugInformation(expression);
      const [{ linuxOf }, { expressionContext }, { printExpression }] = await Promise.all([
        import("../../linux/names/tape-instant.js"),
        import("../../linux/context/expression-context.js"),
        import("../../symbols/expression/evaluator.js"),
      ]);
      const context = expressionContext(await linuxOf(this.open), this.open.symbols.symbols);
      return await printExpression(plan.expression, context);
    } catch (failure) {
      if (!isVmtapeError(failure) || failure.class === "cancelled") throw failure;
      return `<${failure.message}>`;
    }
  }

  /** With names of the program that runs, and of its own variables. */
  private async withDebugInformation(expression: string): Promise<string> {
    const { valuesAt } = await import("../at/print.js");
    const [printed] = await valuesAt(this.open, [expression]);
    if (printed?.error) throw printed.error;
    return printed?.value ?? "";
  }

  private async stackOf(hit: ProbeHitEvent): Promise<string[]> {
    await this.goTo(hit);
    const [{ stackAt }, { stackLines }] = await Promise.all([
      import("../../linux/stack/at.js"),
      import("../../linux/stack/text.js"),
    ]);
    return stackLines(await stackAt(this.open));
  }

  private async goTo({ icount, pc }: ProbeHitEvent): Promise<void> {
    throwIfCancelled(await this.open.timeline.goTo({ icount, pc }, this.signal));
  }
}

function taskText({ pid, name }: HistoryTask): string {
  return pid < 0 ? name : `${pid} ${name}`;
}

function count(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError("it must be a positive number.");
  return Number(text);
}
