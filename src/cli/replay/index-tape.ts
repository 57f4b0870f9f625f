import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import type { IndexReport } from "../../replay/index/check.js";
import type { TapeIndex } from "../../replay/index/tape-index.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, say, sayFacts, size, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface IndexFlags extends TapeOptions {
  readonly checkpoints?: number;
  readonly budget?: number;
  readonly check?: boolean | string;
  readonly drop?: boolean;
  readonly rebuild?: boolean;
}

export function indexCommand(): Command {
  return tapeCommand("index", "replay a tape once and leave what makes every later way through it short")
    .option(
      "--checkpoints <n>",
      "so many at most, evenly spaced (default: as many as the budget holds)",
      number,
    )
    .option(
      "--budget <bytes>",
      "what they may take on disk, e.g. 800M or 1.5G (default: 1.5G, more for large guests)",
      bytes,
    )
    .option("--check [what]", "check the index: its files, or with `states` each checkpoint against a replay")
    .option("--drop", "remove the index")
    .option("--rebuild", "remove it first, then make it again")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(context: CommandContext, name: string, flags: IndexFlags): Promise<void> {
  refuseContradictions(flags);
  const [{ Tape }, { tapeCache }, { dropIndex }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../replay/index/check.js"),
  ]);
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  tape.requireComplete();
  const cache = tapeCache(places, tape);
  if (flags.drop || flags.rebuild) await dropIndex(cache);
  if (flags.drop) {
    if (flags.json) say(toJson({ name, dropped: true }));
    else note(`removed the index of ${name}`);
    return;
  }
  if (flags.check) await check(context, name, flags);
  else await make(context, name, flags);
}

async function make({ signal }: CommandContext, name: string, flags: IndexFlags): Promise<void> {
  const [{ Tape }, { tapeCache }, { buildPlugin }, { indexTape }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../qemu/plugin-build.js"),
    import("../../replay/index/tape.js"),
  ]);
  const startedAt = performance.now();
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  using progress = new Progress();
  const index = await indexTape(tape, {
    cache: tapeCache(places, tape),
    plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version }),
    ...(flags.checkpoints !== undefined && { checkpoints: flags.checkpoints }),
    ...(flags.budget !== undefined && { budget: flags.budget }),
    ...contextFor(flags, signal, progress),
  });
  progress[Symbol.dispose]();
  const seconds = (performance.now() - startedAt) / 1000;
  if (flags.json) say(toJson({ name, ...describe(index), seconds }));
  else sayIndex(index, seconds);
}

function describe(index: TapeIndex) {
  return {
    checkpoints: index.checkpoints.map(({ icount, brctr, rep = 0n, delivered = 0n, bytes }) => ({
      ...{ icount, brctr, rep, delivered, bytes },
    })),
    bytes: index.bytes,
    budget: index.budget,
    rows: index.rowCount,
    counted: index.countedTo,
  };
}

function sayIndex(index: TapeIndex, seconds: number): void {
  for (const { icount, brctr, bytes = 0 } of index.checkpoints) {
    say(`@${grouped(icount).padEnd(18)}brctr ${grouped(brctr).padEnd(16)}${size(bytes).padStart(10)}`);
  }
  sayFacts({
    checkpoints: `${index.checkpoints.length}, ${size(index.bytes)} of at most ${size(index.budget ?? 0)}`,
    rows: grouped(index.rowCount),
    seconds: seconds.toFixed(1),
  });
}

async function check({ signal }: CommandContext, name: string, flags: IndexFlags): Promise<void> {
  const [{ Tape }, { tapeCache }, { checkIndex }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../replay/index/check.js"),
  ]);
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  using progress = new Progress();
  const report = await checkIndex(tape, {
    cache: tapeCache(places, tape),
    states: flags.check === "states",
    ...contextFor(flags, signal, progress),
  });
  progress[Symbol.dispose]();
  if (flags.json) say(toJson({ name, ...report }));
  else sayReport(report);
  if (!report.ok) process.exitCode = 1;
}

function sayReport({ ok, checkpoints, rows, states, problems }: IndexReport): void {
  for (const problem of problems) say(problem);
  const what = states ? "files and states" : "files";
  const all = `${checkpoints} checkpoints (${what}), ${grouped(rows)} rows`;
  say(ok ? `whole: ${all}` : `${problems.length} problems; what was damaged is removed. Looked at ${all}`);
}

function refuseContradictions({ check, drop, rebuild, budget, checkpoints }: IndexFlags): void {
  if (check !== undefined && check !== true && check !== "files" && check !== "states")
    throw new VmtapeError("usage", `--check takes files or states, not '${check}'`);
  const modes = [check, drop, rebuild].filter(Boolean).length;
  if (modes > 1) throw new VmtapeError("usage", "--check, --drop and --rebuild exclude one another");
  if ((check || drop) && (budget !== undefined || checkpoints !== undefined))
    throw new VmtapeError("usage", "--budget and --checkpoints are for making an index");
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 4096) {
    throw new InvalidArgumentError("it must be a number from 1 to 4096.");
  }
  return value;
}

const units: Readonly<Record<string, number>> = { "": 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** `1.5G`, `800MB`, `1GiB`, `1000000000`. */
function bytes(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s?([KMGT]?)(i?)B?$/i.exec(text);
  const power = match?.[2]?.toUpperCase() ?? "";
  const unit = match?.[3] ? 1024 ** "KMGT".indexOf(power) * 1024 : units[power];
  const value = match && unit !== undefined ? Math.floor(Number(match[1]) * unit) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("it must be a number of bytes such as 800M, 1.5G or 1GiB.");
  }
  return value;
}
