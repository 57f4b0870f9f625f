import { VmtapeError } from "../base/errors.js";
import { type GuestAddress, guestAddress, physicalAddress } from "../base/units.js";
import { registerValue, x86Register } from "../qemu/x86-registers.js";
import type { Arrival, DebugTarget } from "../replay/session/timeline-types.js";
import { formatAuxiliary } from "./auxiliary-vector.js";
import type { Conversation } from "./command.js";
import { formatBytes } from "./hex.js";
import type { MemoryRange, NamedMark } from "./monitor-desk.js";

/** A command that a user types after `monitor`. */
interface MonitorCommand {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  /** How many arguments it takes. */
  readonly words: readonly [least: number, most: number];
  run(conversation: Conversation, words: readonly string[]): string | Promise<string>;
}

/** The most bytes that `phys` shows. */
const mostShown = 4096;
const shownPerLine = 16;
/** A length as users write it: decimal, or hexadecimal after 0x. */
const countText = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i;

export const monitorCommands: readonly MonitorCommand[] = [
  {
    name: "where",
    usage: "where",
    help: "the position: pc, branches and instructions since the tape began",
    words: [0, 0],
    run: ({ target, desk }) => desk.describe(target.position),
  },
  {
    name: "goto",
    usage: "goto POSITION",
    help: "go to start, end, @ICOUNT, SYMBOL[:BRCTR], 0xADDR[:BRCTR[/REP]] or a mark",
    words: [1, 1],
    run: async (conversation, [text]) => {
      const { desk, signal } = conversation;
      const arrived = describeArrival(conversation, await desk.goTo(text!, signal));
      return desk.staleHint === undefined ? arrived : `${arrived}\n${desk.staleHint}`;
    },
  },
  {
    name: "mark",
    usage: "mark [NAME]",
    help: "name this instant, to come back with goto NAME",
    words: [0, 1],
    run: ({ desk }, [name]) => describeMark({ desk }, desk.mark(name)),
  },
  {
    name: "marks",
    usage: "marks",
    help: "list the named instants",
    words: [0, 0],
    run: ({ desk }) => {
      const marks = desk.marks();
      return marks.length === 0 ? "no marks" : marks.map((mark) => describeMark({ desk }, mark)).join("\n");
    },
  },
  {
    name: "icount",
    usage: "icount",
    help: "instructions since the tape began",
    words: [0, 0],
    run: ({ target }) => String(target.position.icount),
  },
  {
    name: "brctr",
    usage: "brctr",
    help: "branches since the tape began",
    words: [0, 0],
    run: ({ target }) => String(target.position.brctr),
  },
  {
    name: "when",
    usage: "when ADDR[,LENGTH]",
    help: "who wrote these bytes last (8 of them, if not said): ADDR is a number, SYMBOL[+N], $REGISTER[+N] or phys:NUMBER",
    words: [1, 2],
    run: async ({ target, desk, signal }, words) => {
      const lines = await desk.lastWrite(await parseMemory(words.join(","), { target, desk }), signal);
      return lines.join("\n");
    },
  },
  {
    name: "last",
    usage: "last WHAT",
    help: "when and by what a register (rax) or a value (current->comm) changed last",
    words: [1, 64],
    run: async ({ desk, signal }, words) => (await desk.lastChange(words.join(" "), signal)).join("\n"),
  },
  {
    name: "phys",
    usage: "phys ADDR LENGTH",
    help: "physical memory, in hexadecimal",
    words: [2, 2],
    run: async ({ target, desk }, words) => {
      const { address, length } = await parseMemory(`phys:${words.join(",")}`, { target, desk });
      if (length > mostShown) throw badWords(`at most ${mostShown} bytes are shown`);
      const start = physicalAddress(address);
      const bytes = await target.readPhysical(start, length);
      return bytes ? dump(start, bytes) : "there is no memory at this physical address";
    },
  },
  {
    name: "auxv",
    usage: "auxv",
    help: "the auxiliary vector of the process that runs at this instant",
    words: [0, 0],
    run: async ({ desk, signal }) => {
      const lines = formatAuxiliary((await desk.processFile("current", "auxv", signal)) ?? new Uint8Array());
      return lines.length === 0 ? "no process runs here" : lines.join("\n");
    },
  },
  {
    name: "help",
    usage: "help",
    help: "this list",
    words: [0, 0],
    run: () => {
      const width = Math.max(...monitorCommands.map(({ usage }) => usage.length));
      return monitorCommands.map(({ usage, help }) => `${usage.padEnd(width)}  ${help}`).join("\n");
    },
  },
];

/**
 * Runs a line that a user typed after `monitor`.
 *
 * @returns the text to show, without a final newline; of a failure, its message
 */
export async function runMonitor(conversation: Conversation, line: string): Promise<string> {
  const [name = "help", ...words] = line
    .trim()
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  const found = monitorCommands.find((command) => command.name === name);
  if (!found) return `there is no monitor command '${name.slice(0, 40)}'; monitor help lists them`;
  const [least, most] = found.words;
  if (words.length < least || words.length > most) return `usage: monitor ${found.usage}`;
  try {
    return await found.run(conversation, words);
  } catch (error) {
    if (error instanceof VmtapeError) return error.message;
    throw error;
  }
}

function describeArrival({ target, desk }: Conversation, arrival: Arrival): string {
  const where = desk.describe(target.position);
  return arrival.why === "cancelled" ? `interrupted on the way, at ${where}` : where;
}

function describeMark({ desk }: Pick<Conversation, "desk">, { name, position }: NamedMark): string {
  return `${name}: ${desk.describe(position)}`;
}

/** Reads `ADDR[,LENGTH]` or `phys:ADDR[,LENGTH]`. */
async function parseMemory(text: string, where: Pick<Conversation, "target" | "desk">): Promise<MemoryRange> {
  const [place = "", count = "8"] = text.split(",");
  const length = countText.test(count) ? Number(count) : 0;
  if (length === 0) throw badWords(`'${count}' is no number of bytes`);
  if (!place.startsWith("phys:")) {
    const inRegister = await registerPlace(place, where.target);
    return { space: "virtual", address: inRegister ?? where.desk.addressOf(place), length };
  }
  const number = place.slice("phys:".length);
  if (!/^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(number)) throw badWords(`'${number}' is no physical address`);
  return { space: "physical", address: physicalAddress(BigInt(number)), length };
}

/**
 * `$REGISTER`, `$REGISTER+N` or `$REGISTER-N`, since GDB does not evaluate registers in monitor commands; undefined
 * for anything else.
 */
async function registerPlace(text: string, target: DebugTarget): Promise<GuestAddress | undefined> {
  const [, written, sign, digits = "0"] = /^\$(\w+)(?:([+-])(0x[0-9a-f]{1,8}|\d{1,9}))?$/i.exec(text) ?? [];
  if (written === undefined) return undefined;
  const name = aliases[written] ?? written;
  const known = x86Register(name);
  if (!known || known.bytes > 8) throw badWords(`there is no register '${written}' that holds an address`);
  const value = registerValue(await target.registers(), name);
  return guestAddress(sign === "-" ? value - BigInt(digits) : value + BigInt(digits));
}

/** GDB's names for registers of any processor. */
const aliases: Readonly<Record<string, string>> = { pc: "rip", sp: "rsp", fp: "rbp" };

function badWords(message: string): VmtapeError {
  return new VmtapeError("usage", message);
}

/** A hex dump: lines of an address and 16 bytes. */
function dump(start: bigint, bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += shownPerLine) {
    const part = formatBytes(bytes.subarray(i, i + shownPerLine)).replace(/..(?=.)/g, "$& ");
    lines.push(`0x${(start + BigInt(i)).toString(16).padStart(8, "0")}: ${part}`);
  }
  return lines.join("\n");
}
