import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { removeRegular } from "../../base/regular-file.js";
import type { TapeSymbols } from "../../linux/names/tape-symbols.js";
import type { PluginPoint, PluginPosition } from "../../qemu/plugin-channel.js";
import { beyondEnd } from "../../replay/session/beyond-end.js";
import type { WrittenPosition } from "../../replay/session/position.js";
import type { Tape } from "../../tape/tape.js";
import type { CollectedTrace } from "../../trace/collect.js";
import type { CutRange } from "../../trace/cut.js";
import { loadHistory, taskOption, wantedTask } from "../open/load-history.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, say, sayFacts, size, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface TraceFlags extends TapeOptions {
  readonly output?: string;
  readonly all?: boolean;
  readonly user?: boolean;
  readonly kernel?: boolean;
  readonly countOnly?: boolean;
  readonly task?: string;
  readonly jobs: number;
}

export function traceCommand(): Command {
  return tapeCommand("trace", "write down every branch between two positions of a tape")
    .argument("[start]", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]")
    .argument("[end]", "the same; a place alone: its first time after the start")
    .option("-o, --output <file>", "the branch log (default: NAME.branches)")
    .option("--all", "the whole tape")
    .option("--user", "only records that touch user space")
    .option("--kernel", "only records that touch the kernel")
    .option("--count-only", "count, write nothing")
    .option(...taskOption)
    .option(
      "--jobs <n>",
      "trace so many segments side by side, from checkpoints (vmtape index makes them)",
      count,
      1,
    )
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(
  { signal }: CommandContext,
  name: string,
  start: string | undefined,
  end: string | undefined,
  flags: TraceFlags,
): Promise<void> {
  const [{ parsePosition }, { Tape }, { tapeCache }, { buildPlugin }, { traceWindow }] = await Promise.all([
    import("../../replay/session/position.js"),
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../qemu/plugin-build.js"),
    import("../../trace/segments.js"),
  ]);
  const [from, to] = chooseEnds(start, end, flags).map(parsePosition) as [WrittenPosition, WrittenPosition];
  if (flags.task !== undefined && flags.countOnly) {
    throw new VmtapeError("usage", "--task needs a log to cut: vmtape tasks NAME --task counts without one");
  }
  if (flags.user && flags.kernel) throw new VmtapeError("usage", "--user and --kernel exclude each other");
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  tape.requireComplete();
  const cache = tapeCache(places, tape);
  const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
  using progress = new Progress();
  const load = async () => {
    const { TapeSymbols } = await import("../../linux/names/tape-symbols.js");
    return TapeSymbols.load(tape, { cache, ...contextFor(flags, signal, progress) });
  };
  const needed = from.kind === "symbol" || to.kind === "symbol";
  const symbols = needed ? await load() : undefined;
  const window = {
    start: pointOf(from, "start", tape, symbols),
    end: pointOf(to, "end", tape, symbols),
    selection: flags.user ? ("user" as const) : flags.kernel ? ("kernel" as const) : ("all" as const),
  };
  refuseBackwards(window.start, window.end);
  const output = flags.countOnly ? undefined : (flags.output ?? `${name}.branches`);
  const ofTask =
    flags.task === undefined ? undefined : await rangesOf(flags.task, tape, flags, progress, signal);
  const trace = await traceWindow(tape, window, {
    plugin,
    cache,
    jobs: flags.jobs,
    output,
    ...contextFor(flags, signal, progress),
    atEnd: async (session) => {
      if (symbols) return symbols.seeModules(session);
      const { TapeSymbols } = await import("../../linux/names/tape-symbols.js");
      await TapeSymbols.learn(tape, cache, session);
    },
  });
  const kept = ofTask && output !== undefined ? await keepOnly(output, ofTask, signal) : {};
  progress[Symbol.dispose]();
  if (output !== undefined && trace.segments < flags.jobs) sayFewSegments(name, trace.segments);
  if (flags.json) say(toJson({ name, file: output ?? null, ...trace, ...kept }));
  else sayTrace({ ...trace, ...kept }, output, symbols);
}

/** All ranges of branches in which a task ran. */
async function rangesOf(
  task: string,
  tape: Tape,
  flags: TraceFlags,
  progress: Progress,
  signal: AbortSignal,
): Promise<CutRange[]> {
  const history = await loadHistory(tape, flags, progress, signal);
  return history.branchRanges(await wantedTask(history, task));
}

/** Replaces a log by one that has only these ranges. */
async function keepOnly(file: string, ranges: readonly CutRange[], signal: AbortSignal) {
  const [{ BranchLog }, { cutBranches }] = await Promise.all([
    import("../../trace/branch-log.js"),
    import("../../trace/cut.js"),
  ]);
  try {
    await using log = await BranchLog.open(file);
    const { records, bytes } = await cutBranches(log, ranges, file, signal);
    return { records: BigInt(records), bytes };
  } catch (error) {
    await removeRegular(file); // it has branches that were not asked for
    throw error;
  }
}

function chooseEnds(start: string | undefined, end: string | undefined, flags: TraceFlags): [string, string] {
  if (flags.all) {
    if (start !== undefined)
      throw new VmtapeError("usage", "--all traces the whole tape: leave START and END out");
    return ["start", "end"];
  }
  if (start === undefined || end === undefined) {
    throw new VmtapeError("usage", "where from and where to? vmtape trace NAME START END, or --all");
  }
  return [start, end];
}

function pointOf(
  position: WrittenPosition,
  which: "start" | "end",
  tape: Tape,
  symbols: TapeSymbols | undefined,
): PluginPoint {
  switch (position.kind) {
    case "start":
      return which === "start" ? { at: "now" } : { at: "icount", icount: 0n as never };
    case "end":
      return which === "end" ? { at: "never" } : { at: "icount", icount: tape.end.at };
    case "icount":
      if (position.icount > tape.end.at) throw beyondEnd(position.icount, tape);
      return { at: "icount", icount: position.icount };
    case "address":
      return visitOf(position.address, position.visit);
    case "symbol":
      return visitOf(symbols!.addressOf(position.name), position.visit);
  }
}

function visitOf(
  address: bigint,
  visit: Extract<WrittenPosition, { kind: "address" }>["visit"],
): PluginPoint {
  return visit
    ? { at: "visit", address: address as never, ...visit }
    : { at: "address", address: address as never };
}

function refuseBackwards(start: PluginPoint, end: PluginPoint): void {
  if (end.at !== "icount") return;
  const from = start.at === "now" ? 0n : start.at === "icount" ? start.icount : undefined;
  if (from !== undefined && end.icount < from) {
    throw new VmtapeError("not-reached", `the end (@${end.icount}) lies before the start (@${from})`);
  }
}

/** Prints that there are fewer segments than jobs, since segments begin at checkpoints. */
function sayFewSegments(name: string, segments: number): void {
  const made = segments === 1 ? "in one segment" : `in ${segments} segments`;
  note(`traced ${made}: there are no more checkpoints to start from (vmtape index ${name} makes them)`);
}

function sayTrace(trace: CollectedTrace, output: string | undefined, symbols: TapeSymbols | undefined): void {
  const { start, end, records, bytes, seconds } = trace;
  const perRecord = records > 0n ? `, ${(bytes / Number(records)).toFixed(3)} bytes a branch` : "";
  sayFacts({
    file: output,
    from: describe(start, symbols),
    to: describe(end, symbols),
    instructions: grouped(end.icount - start.icount),
    branches: grouped(records),
    size: output === undefined ? undefined : `${size(bytes)}${perRecord}`,
    seconds: seconds.toFixed(1),
  });
}

function describe({ icount, brctr, pc }: PluginPosition, symbols: TapeSymbols | undefined): string {
  const place = pc === undefined ? "" : `0x${pc.toString(16)}:`;
  const name = pc === undefined ? undefined : symbols?.describe(pc);
  return `${place}${brctr} @${icount}${name ? ` <${name}>` : ""}`;
}

function count(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new InvalidArgumentError("it must be a number from 1 to 99.");
  return Number(text);
}
