import type { GuestAddress } from "../../base/units.js";
import { frameMask } from "../../base/x86-paging.js";
import { agentOps } from "../../formats/agent-opcodes.js";
import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import type { Arrival, Condition, DebugTarget, PointId } from "../session/timeline-types.js";

/** The addresses within which a step goes on, usually those of one source line: `start` to `end`, without `end`. */
export interface StepRange {
  readonly start: GuestAddress;
  readonly end: GuestAddress;
}

/**
 * Steps while the pc stays in a range. Interrupts and faults are stepped over: their handlers are no part of a source
 * line. Ends at the first instant outside the range, at a point, at the tape's end, or when cancelled. Where a
 * handler never returns to the range, only a point, the tape's end or cancelling ends the step.
 *
 * Cost: two requests an instruction, plus a run for each delivery.
 *
 * @param breaksAt is there a breakpoint at an address within the range?
 */
export async function stepRange(
  target: DebugTarget,
  range: StepRange,
  breaksAt: (pc: GuestAddress) => boolean,
  signal: AbortSignal,
): Promise<Arrival> {
  for (;;) {
    const arrival = await stepOver(target, signal);
    if (arrival.why !== "reached") return arrival;
    const { pc } = arrival.position;
    if (pc < range.start || pc >= range.end || breaksAt(pc)) return arrival;
    if (signal.aborted) return { ...arrival, why: "cancelled" };
  }
}

/**
 * Executes one instruction of the present task. When an interrupt or fault comes before it, runs through the handler
 * first.
 */
async function stepOver(target: DebugTarget, signal: AbortSignal): Promise<Arrival> {
  for (;;) {
    const { pc, icount } = target.position;
    const registers = await target.registers();
    const arrival = await target.stepForward(1, signal);
    const delivered = arrival.position.icount === icount;
    if (!delivered || arrival.why !== "reached") return arrival;
    const back = await returnTo(target, pc, registers, signal);
    if (back.why !== "reached") return back;
  }
}

/**
 * Runs until a handler returns to the place that was interrupted: the same address and stack pointer and, in a user
 * program, the same page table.
 */
async function returnTo(
  target: DebugTarget,
  pc: GuestAddress,
  registers: Uint8Array,
  signal: AbortSignal,
): Promise<Arrival> {
  const returned = target.addPoint({ kind: "execute", address: pc, condition: sameTask(registers) });
  try {
    const arrival = await target.run("forward", signal);
    return isAlone(arrival, returned) ? { ...arrival, why: "reached", points: [] } : arrival;
  } finally {
    target.removePoint(returned);
  }
}

function isAlone({ why, points }: Arrival, id: PointId): boolean {
  return why === "point" && points.length === 1 && points[0] === id;
}

/** The bits of cs that are 0 in the kernel. */
const privilege = 3n;

/**
 * `rsp == now`, and in a program `&& (cr3 & mask) == now`: a kernel thread may go on under another cr3, since it
 * borrows the address space of the task before it.
 */
function sameTask(registers: Uint8Array): Condition {
  const code = [...register("rsp"), ...const64(registerValue(registers, "rsp")), agentOps.equal[0]];
  if ((registerValue(registers, "cs") & privilege) !== 0n) {
    const page = registerValue(registers, "cr3") & frameMask;
    code.push(
      ...register("cr3"),
      ...const64(frameMask),
      agentOps.bit_and[0],
      ...const64(page),
      agentOps.equal[0],
    );
    code.push(agentOps.bit_and[0]);
  }
  return Uint8Array.from([...code, agentOps.end[0]]);
}

function register(name: string): number[] {
  const { number } = x86Register(name)!;
  return [agentOps.reg[0], number >> 8, number & 0xff];
}

function const64(value: bigint): number[] {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return [agentOps.const64[0], ...bytes];
}
