import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { throwIfCancelled } from "../../base/stopping.js";
import { hex, physicalAddress } from "../../base/units.js";
import { registerValue, x86Registers } from "../../qemu/x86-registers.js";
import type { Past } from "../../replay/timeline/last-write.js";
import { type OpenTimeline, openTimeline } from "../open/open-timeline.js";
import { hexDump } from "../shell/hex-dump.js";
import { qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";
import { addressOf, findPast, pastRange, sayPast, type WrittenRange, writtenRange } from "./past.js";
import { failFor, sayValues, valueFacts, valuesAt } from "./print.js";
import { sayListing, sayRegisters } from "./say-machine.js";

interface AtFlags extends TapeOptions {
  readonly regs?: boolean;
  readonly mem?: readonly WrittenRange[];
  readonly disas?: number;
  readonly print?: readonly string[];
  readonly stack?: boolean;
  readonly lastWrite?: WrittenRange;
  readonly history?: string | true;
}

/** More than a screen of anybody's; a hex dump of this has 65,536 lines. */
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
      texts,
    )
    .option("--disas <n>", "so many instructions from here on", count)
    .option("--stack", "the stack: who called what runs here, through kernel and program")
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
  const { parsePosition } = await import("../../replay/session/position.js");
  // Mistakes are told before anything takes time.
  parsePosition(text);
  if (typeof flags.history === "string") parsePosition(flags.history);
  if (flags.history !== undefined && !flags.lastWrite) {
    throw new VmtapeError("usage", "--history tells the past of what --last-write names");
  }
  using progress = new Progress();
  await using open = await openTimeline(name, flags, progress, signal);
  const { timeline } = open;
  throwIfCancelled(await timeline.goTo(await open.locate(text, signal), signal));
  const registers = new Uint8Array(await timeline.registers());
  const memory = await readRanges(open, flags.mem ?? []);
  const notes = new Set<string>();
  const values = flags.print && (await valuesAt(open, flags.print, notes));
  const listing = flags.disas === undefined ? undefined : await list(open, flags.disas);
  const past =
    flags.lastWrite && (await findPast(open, flags.lastWrite, await sinceOf(open, flags, signal), signal));
  const stack = flags.stack ? await stackOf(open) : undefined;
  progress[Symbol.dispose]();
  const { position } = timeline;
  // Debug information is opened while names are looked up: what it lacks is known once all is told.
  const sayNotes = () => {
    for (const text of new Set([...notes, ...open.symbols.symbols.notes, ...(stack?.notes() ?? [])]))
      note(text);
  };
  if (flags.json) {
    say(
      toJson({
        name,
        ...position,
        pc: hex(position.pc),
        symbol: open.symbols.describe(position.pc) ?? null,
        registers: registerFacts(registers),
        ...(flags.mem && { memory: memory.map(memoryFacts) }),
        ...(values && { values: valueFacts(values) }),
        ...(past && { lastWrite: await pastJson(past, open) }),
        ...(listing && { disassembly: listing.map(lineFacts) }),
        ...(stack && { stack: stack.facts }),
      }),
    );
    sayNotes();
    failFor(values);
    return;
  }
  say(open.describe(position));
  if (flags.regs) sayRegisters(registers, (address) => open.symbols.describe(address));
  for (const { range, address, bytes } of memory) {
    say();
    if (!bytes) say(`${range.place}: not mapped`);
    else for (const line of hexDump(address, bytes)) say(line);
    if (bytes && bytes.length < range.length) say(`${hex(address + BigInt(bytes.length))}: not mapped`);
  }
  if (values) {
    say();
    sayValues(values);
  }
  if (listing) {
    say();
    sayListing(listing, position.pc, (address) => open.symbols.describe(address));
  }
  if (stack) {
    say();
    for (const line of stack.lines) say(line);
  }
  if (past) {
    say();
    await sayPast(past, flags.lastWrite!, open);
  }
  sayNotes();
  failFor(values);
}

/** The first instant of the past that is asked for; undefined when only the last write is. */
async function sinceOf(open: OpenTimeline, { history }: AtFlags, signal: AbortSignal) {
  if (history === undefined) return undefined;
  return (await open.locate(history === true ? "start" : history, signal)).icount;
}

async function readRanges(open: OpenTimeline, wanted: readonly WrittenRange[]) {
  const all = [];
  for (const range of wanted) {
    const address = addressOf(range.place, open);
    const bytes =
      range.space === "virtual"
        ? await open.timeline.readMemory(address, range.length)
        : await open.timeline.readPhysical(physicalAddress(address), range.length);
    all.push({ range, address, bytes });
  }
  return all;
}

async function list({ timeline }: OpenTimeline, count: number) {
  const { disassemble, longestInstruction } = await import("../../qemu/x86-disassembly.js");
  const { pc } = timeline.position;
  const bytes = (await timeline.readMemory(pc, count * longestInstruction)) ?? new Uint8Array();
  return disassemble(bytes, await timeline.codeSize(), pc, count);
}

async function stackOf(open: OpenTimeline) {
  const [{ stackAt }, { stackFacts, stackLines }] = await Promise.all([
    import("../../linux/stack/at.js"),
    import("../../linux/stack/text.js"),
  ]);
  const stack = await stackAt(open);
  return { lines: stackLines(stack), facts: stackFacts(stack), notes: () => stack.notes() };
}

async function pastJson(past: Past, { symbols }: OpenTimeline) {
  const { pastFacts } = await import("../../replay/timeline/past-text.js");
  return pastFacts(past, (pc) => symbols.describe(pc));
}

function registerFacts(block: Uint8Array): Record<string, string> {
  return Object.fromEntries(
    x86Registers.map(({ name, offset, bytes }) => [
      name,
      bytes <= 8 ? hex(registerValue(block, name)) : wide(block.subarray(offset, offset + bytes)),
    ]),
  );
}

/** Little-endian bytes as one number. */
function wide(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).reverse().toString("hex")}`;
}

function memoryFacts({ range, address, bytes }: Awaited<ReturnType<typeof readRanges>>[number]) {
  const { space, length } = range;
  return { space, address: hex(address), length, bytes: bytes ? Buffer.from(bytes).toString("hex") : null };
}

function lineFacts({ address, bytes, text }: Awaited<ReturnType<typeof list>>[number]) {
  return { address: hex(address), bytes: Buffer.from(bytes).toString("hex"), text };
}

function ranges(text: string, before: readonly WrittenRange[] = []): WrittenRange[] {
  return [...before, writtenRange(text, mostBytes)];
}

function texts(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > mostLines) {
    throw new InvalidArgumentError(`it must be a number from 1 to ${mostLines}.`);
  }
  return value;
}
