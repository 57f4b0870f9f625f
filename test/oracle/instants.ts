import { memoryOperands, type Operands } from "./memory-operands.js";
import { ReplayProcess } from "./replay-process.js";

/** An instant that single-stepping showed, and what happened there. */
export interface SteppedInstant {
  readonly icount: number;
  readonly pc: bigint;
  /** The `g` packet's bytes. */
  readonly registers: Buffer;
  /** What the instruction at pc accesses, if it executes. */
  readonly operands: Operands | undefined;
  /** The step executed the instruction; otherwise it made a delivery. */
  readonly executed: boolean;
  /** The stack pointer after it. */
  readonly stackAfter: bigint;
}

const general = [
  "RAX",
  "RBX",
  "RCX",
  "RDX",
  "RSI",
  "RDI",
  "RBP",
  "RSP",
  "R8",
  "R9",
  "R10",
  "R11",
  "R12",
  "R13",
  "R14",
  "R15",
  "RIP",
];
/** Offsets in QEMU's `g` packet. */
const place = new Map<string, number>([
  ...general.map((name, i) => [name, 8 * i] as const),
  ["FS_BASE", 164],
  ["GS_BASE", 172],
]);

/** A register of 64 bits out of a `g` packet, by its upper-case name; parts of registers too. */
export function registerOf(block: Buffer, name: string): bigint {
  const whole = place.get(name);
  if (whole !== undefined) return block.readBigUInt64LE(whole);
  const half = /^E(..)$/.exec(name) ?? /^(R\d+)D$/.exec(name);
  const at = half && place.get(half[1]!.startsWith("R") ? half[1]! : `R${half[1]}`);
  if (at === undefined || at === null) throw new Error(`the oracle does not know the register ${name}`);
  return block.readBigUInt64LE(at) & 0xffffffffn;
}

/**
 * Steps a plain QEMU from the first time at `from` to the first time at `to`, in 64-bit mode, and shows every instant
 * between with all registers.
 */
export async function stepInstants(
  argv: readonly string[],
  from: bigint,
  to: bigint,
): Promise<SteppedInstant[]> {
  await using process = await ReplayProcess.start(argv);
  const { gdb } = process;
  await process.runToAddress(from);
  const instants: SteppedInstant[] = [];
  let icount = await process.icount();
  let registers = Buffer.from(await gdb.request("g"), "hex");
  for (;;) {
    const pc = registerOf(registers, "RIP");
    if (pc === to) return instants;
    const bytes = await gdb.request(`m${pc.toString(16)},f`);
    const operands = bytes.startsWith("E")
      ? undefined
      : memoryOperands(Buffer.from(bytes, "hex"), pc, (name) => registerOf(registers, name));
    // Packets are sent one by one, since one that arrives while the machine runs would stop it.
    const reply = await gdb.soon("s");
    const after = await gdb.request("g");
    if (!reply.startsWith("T05")) throw new Error(`a step ended with ${reply}`);
    const next = Buffer.from(after, "hex");
    const counted = await process.icount();
    const here = { icount, pc, registers, operands, executed: counted > icount };
    instants.push({ ...here, stackAfter: registerOf(next, "RSP") });
    icount = counted;
    registers = next;
  }
}
