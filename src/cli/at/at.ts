import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { MemoryBytes, Moment } from "../../moment/moment.js";
import type { OpenTape } from "../../moment/open-tape.js";
import type { MemoryPlace } from "../../moment/registers.js";
import type { Line } from "../../qemu/x86-disassembly.js";
import type { Past } from "../../replay/timeline/last-write.js";
import { openTape } from "../open/open-tape.js";
import { hexDump } from "../shell/hex-dump.js";
import { qemuOption, several, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";
import { changeFacts, changeLines, changeOf } from "./change.js";
import { pastRange, sayPast, writtenRange } from "./past.js";
import { failFor, sayValues, valueFacts } from "./print.js";
import { sayListing, sayRegisters } from "./say-machine.js";

interface AtFlags extends TapeOptions {
  readonly regs?: boolean;
  readonly mem?: readonly MemoryPlace[];
  readonly disas?: number;
  readonly print?: readonly string[];
  readonly stack?: boolean;
  readonly lastChange?: string;
  readonly lastWrite?: MemoryPlace;
  readonly history?: string | true;
}

/** The most bytes of memory that are printed; a hex dump of them has 65,536 lines. */
const mostBytes = 1 << 20;
const mostLines = 10_000;

export function atCommand(): Command {
  return tapeCommand("at", "go to an instant of a tape, and show the machine there")
    .argument("<position>", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]")
    .option("--regs", "the registers")
    .option("--mem <address,length>", "memory; phys:ADDRESS,LENGTH for physical memory (repeatable)", ranges)
    .option(
      "--print <expression>",
      "a value as GDB prints it: 'current->comm', '/x $rdi', '*(struct file *)0x…' (repeatable)",
      several,
    )
    .option("--disas <n>", "so many instructions from here on", count)
    .option("--stack", "the stack: who called what runs here, through kernel and program")
    .option("--last-change <register|expression>", "when and by what this changed last, on the whole tape")
    .option(
      "--last-write <address,length>",
      "who wrote these bytes last (8 when no length is given)",
      pastRange,
    )
    .option("--history [since]", "with --last-write: all writes since a position (default: start)")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run({ signal }: CommandContext, name: string, text: string, flags: AtFlags): Promise<void> {
  await checkHistory(flags);
  using progress = new Progress();
  await using open = await openTape(name, flags, progress, signal, text);
  const moment = open.now();
  const told = await look(open, moment, flags, signal);
  progress[Symbol.dispose]();
  if (flags.json) say(toJson({ name, ...moment.toJSON(), ...(await factsOf(told, moment)) }));
  else await sayAll(told, open, moment, flags);
  // Debug information is opened when names are looked up, so its notes are complete only after all is printed.
  const notes = [
    ...(told.printed?.notes ?? []),
    ...open.symbols.symbols.notes,
    ...(told.stack?.notes() ?? []),
  ];
  for (const text of new Set(notes)) note(text);
  failFor(told.printed?.values);
}

/** Checks the position of `--history`, so that a mistake is reported before anything takes time. */
async function checkHistory({ history, lastWrite }: AtFlags): Promise<void> {
  const { parsePosition } = await import("../../replay/session/position.js");
  if (typeof history === "string") parsePosition(history);
  if (history !== undefined && !lastWrite) {
    throw new VmtapeError("usage", "--history tells the past of what --last-write names");
  }
}

/** Collects everything that the options ask for, while the machine stands at the instant. */
async function look(open: OpenTape, moment: Moment, flags: AtFlags, signal: AbortSignal) {
  const { mem, print, disas, stack, lastChange, lastWrite, history } = flags;
  const registers = flags.regs || flags.json ? await moment.registers() : undefined;
  const memory: MemoryBytes[] = [];
  for (const range of mem ?? []) memory.push(await moment.memory(range));
  const printed = print && (await moment.values(print));
  const listing = disas === undefined ? undefined : await moment.disassembly(disas);
  const since =
    history === undefined
      ? undefined
      : (await open.locate(history === true ? "start" : history, { signal })).icount;
  const past = lastWrite && (await moment.past(lastWrite, { signal, ...(since !== undefined && { since }) }));
  return {
    registers,
    memory: mem && memory,
    printed,
    listing,
    past,
    change: lastChange === undefined ? undefined : await changeOf(moment, lastChange, signal),
    stack: stack ? await moment.stack() : undefined,
  };
}

type Told = Awaited<ReturnType<typeof look>>;

async function sayAll(told: Told, open: OpenTape, moment: Moment, flags: AtFlags): Promise<void> {
  const nameOf = (address: bigint) => moment.nameOf(address);
  say(moment.describe());
  if (told.registers) sayRegisters(told.registers.block, nameOf);
  for (const one of told.memory ?? []) sayMemory(one);
  if (told.printed) {
    say();
    sayValues(told.printed.values);
  }
  if (told.listing) {
    say();
    sayListing(told.listing, moment.position.pc, nameOf);
  }
  if (told.stack) {
    const { stackLines } = await import("../../linux/stack/text.js");
    say();
    for (const line of stackLines(told.stack)) say(line);
  }
  if (told.past) {
    say();
    await sayPast(told.past, flags.lastWrite!, open);
  }
  if (told.change) {
    say();
    for (const line of changeLines(told.change, (at) => open.describe(at))) say(line);
  }
}

function sayMemory({ range, address, bytes }: MemoryBytes): void {
  say();
  if (!bytes) say(`${range.place}: not mapped`);
  else for (const line of hexDump(address, bytes)) say(line);
  if (bytes && bytes.length < range.length) say(`${hex(address + BigInt(bytes.length))}: not mapped`);
}

async function factsOf({ registers, memory, printed, listing, past, change, stack }: Told, moment: Moment) {
  return {
    registers,
    ...(memory && { memory: memory.map(memoryFacts) }),
    ...(printed && { values: valueFacts(printed.values) }),
    ...(past && { lastWrite: await pastJson(past, moment) }),
    ...(change && { lastChange: changeFacts(change, (pc) => moment.nameOf(pc)) }),
    ...(listing && { disassembly: listing.map(lineFacts) }),
    ...(stack && { stack: (await import("../../linux/stack/text.js")).stackFacts(stack) }),
  };
}

async function pastJson(past: Past, moment: Moment) {
  const { pastFacts } = await import("../../replay/timeline/past-text.js");
  return pastFacts(past, (pc) => moment.nameOf(pc));
}

function memoryFacts({ range, address, bytes }: MemoryBytes) {
  const { space, length } = range;
  return { space, address: hex(address), length, bytes: bytes ? Buffer.from(bytes).toString("hex") : null };
}

function lineFacts({ address, bytes, text }: Line) {
  return { address: hex(address), bytes: Buffer.from(bytes).toString("hex"), text };
}

function ranges(text: string, before: readonly MemoryPlace[] = []): MemoryPlace[] {
  return [...before, writtenRange(text, mostBytes)];
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > mostLines) {
    throw new InvalidArgumentError(`it must be a number from 1 to ${mostLines}.`);
  }
  return value;
}
