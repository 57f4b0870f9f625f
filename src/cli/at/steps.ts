import { type Command, InvalidArgumentError } from "commander";
import pc from "picocolors";
import { VmtapeError } from "../../base/errors.js";
import { printable } from "../../base/printable.js";
import { throwIfAborted } from "../../base/stopping.js";
import { icount } from "../../base/units.js";
import { openTape } from "../open/open-tape.js";
import { qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, print, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface StepsFlags extends TapeOptions {
  readonly back?: bigint;
  readonly forward?: bigint;
  readonly regs?: readonly string[];
  readonly writes?: boolean;
  readonly reads?: boolean;
}

/** How many instructions are shown on each side by default. */
const usual = 10n;

export function stepsCommand(): Command {
  return tapeCommand(
    "steps",
    "list the instructions that were executed around an instant, and what each changed",
  )
    .argument("<position>", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]")
    .option("--back <n>", `so many instructions before it (default: ${usual}, 0 with --forward)`, count)
    .option("--forward <n>", `so many from it on (default: ${usual}, 0 with --back)`, count)
    .option("--regs <list>", "changes of these registers alone, e.g. rax,rsp,eflags (default: of all)", names)
    .option("--writes", "memory that was written, with what stood there before")
    .option("--reads", "memory that was read")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(
  { signal }: CommandContext,
  name: string,
  position: string,
  flags: StepsFlags,
): Promise<void> {
  const { StepText, isShownRegister } = await import("../../moment/step-text.js");
  const unknown = flags.regs?.find((one) => !isShownRegister(one));
  if (unknown !== undefined) {
    throw new VmtapeError(
      "usage",
      `${unknown} is no register whose changes are told; rax, rsp and eflags are`,
    );
  }
  const { back = flags.forward === undefined ? usual : 0n } = flags;
  const { forward = flags.back === undefined ? usual : 0n } = flags;
  if (back + forward === 0n) throw new VmtapeError("usage", "--back 0 and --forward 0 leave nothing to list");
  using progress = new Progress();
  await using open = await openTape(name, flags, progress, signal, position);
  const here = open.timeline.position;
  const end = open.tape.end.at;
  const from = here.icount - least(here.icount, back);
  const to = here.icount + least(end - here.icount, forward);
  const { symbols } = open.symbols;
  const text = new StepText(
    { nameOf: (address) => open.symbols.describe(address), lineOf: (address) => lineOf(symbols, address) },
    flags.regs && new Set(flags.regs),
  );
  const { json = false, writes = false, reads = false } = flags;
  let lines = "";
  let line: string | undefined;
  const steps = open.timeline.steps({
    ...{ from: icount(from), to: icount(to), reads, signal },
    before: writes || reads || json,
    onProgress: (at) =>
      progress.sink({
        doing: "filming",
        done: Number(at - from),
        total: Number(to - from),
        unit: "instructions",
      }),
  });
  for await (const step of steps) {
    throwIfAborted(signal);
    if (json) {
      lines += `${toJson(text.json(step))}\n`;
    } else {
      const source = text.sourceLine(step);
      if (source !== undefined && source !== line) lines += `${pc.dim(printable(source))}\n`;
      line = source;
      const isHere = step.position.icount === here.icount && step.position.pc === here.pc;
      lines += `${isHere ? "=>" : "  "} ${text.line(writes ? step : { ...step, writes: [] })}\n`;
    }
    if (lines.length > 1 << 15) {
      progress[Symbol.dispose]();
      await print(lines, signal);
      lines = "";
    }
  }
  progress[Symbol.dispose]();
  await print(lines, signal);
  if (here.icount < back) note(`the tape begins ${here.icount} instructions before ${position}`);
  if (here.icount + forward > end) note(`the tape ends ${end - here.icount} instructions after ${position}`);
}

const least = (a: bigint, b: bigint) => (a < b ? a : b);

function lineOf(
  symbols: { lookup(address: bigint): { place?: { file: string; line: number } } | undefined },
  address: bigint,
): string | undefined {
  const place = symbols.lookup(address)?.place;
  return place && place.line > 0 ? `${place.file}:${place.line}` : undefined;
}

function count(text: string): bigint {
  const [, digits = "", zeros = "0"] = /^(\d[\d_,]{0,22})(?:e(\d{1,2}))?$/.exec(text) ?? [];
  if (digits === "") throw new InvalidArgumentError("it must be a number of instructions, 0 or more.");
  return BigInt(digits.replace(/[_,]/g, "")) * 10n ** BigInt(zeros);
}

function names(text: string): string[] {
  const list = text.split(",").map((name) => name.trim());
  if (list.some((name) => name === ""))
    throw new InvalidArgumentError("it must be names of registers with commas between.");
  return list;
}
