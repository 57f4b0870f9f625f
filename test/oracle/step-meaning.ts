import type { BranchKind, BranchRecord } from "./branch-record.js";
import type { Instruction } from "./instruction.js";
import type { Deliveries } from "./replay-events.js";

/** One instruction that is about to be executed. */
export interface Here {
  readonly at: bigint;
  readonly icount: number;
  /** Undefined when it cannot be fetched, or its bytes are no instruction: only an exception can follow. */
  readonly instruction: Instruction | undefined;
}

/**
 * What single steps mean: turns the addresses that QEMU shows into branch records. No I/O.
 *
 * What a single step of QEMU 7.2 and 10.0 shows:
 * - each executed instruction, and each iteration of a `rep` instruction, adds 1 to the instruction count; a `rep`
 *   shows its own address again after each iteration;
 * - an interrupt takes one step of its own: the address that would have run next is shown, then the handler, with the
 *   same instruction count. After `hlt` the two are one step;
 * - an exception takes one step as well and adds nothing when the instruction had begun to access memory, but counts
 *   the instruction when it was refused at decoding (`int n`, `ud2`, a privileged instruction in ring 3);
 * - an exception during the delivery of another is in the replay log as well, without a step of its own;
 * - a trap of TF shows only the handler: the handler's stack has the address to which the instruction before went;
 * - a step does not stop after `pause`, but shows what comes after the next instruction;
 * - a step sometimes executes nothing (after a device raised an interrupt line): same address, same count.
 */
export class StepMeaning {
  here: Here;
  steps = 0;
  emptySteps = 0;
  readonly records: BranchRecord[] = [];
  /** Steps that cannot be explained. */
  readonly doubts: string[] = [];
  private readonly deliveries: Deliveries;
  /** Index of the next delivery of the replay log. */
  private delivery: number;

  constructor(deliveries: Deliveries, firstDelivery: number, here: Here) {
    this.deliveries = deliveries;
    this.delivery = firstDelivery;
    this.here = here;
  }

  /** The instruction count of the next interrupt or exception. */
  get pending(): number {
    return this.deliveries.icounts[this.delivery] ?? Number.POSITIVE_INFINITY;
  }

  /** The address after the instruction. */
  get next(): bigint {
    const { at, instruction } = this.here;
    return instruction === undefined ? -1n : at + BigInt(instruction.length);
  }

  /** Will the step that leaves this instruction go on through the next one? */
  get runsOn(): boolean {
    return this.here.instruction?.flow === "pause" && this.pending !== this.here.icount;
  }

  /** Goes on after the instruction, without a step. */
  runOn(instruction: Instruction | undefined): void {
    this.here = { at: this.next, icount: this.here.icount + 1, instruction };
    this.steps++;
  }

  /**
   * Takes a step that was made, after which `instruction` at `at` is shown.
   *
   * @param asked.counted the instruction count there; needed near a delivery, and where an instruction may be
   *   followed by itself
   * @param asked.pushed the word on top of the stack, when the step may have been a trap
   */
  leave(
    at: bigint,
    instruction: Instruction | undefined,
    asked: { readonly counted: number; readonly pushed: bigint | undefined } | undefined = undefined,
  ): void {
    const icount = this.resolve(at, asked?.counted, asked?.pushed);
    if (asked !== undefined && icount !== asked.counted) {
      this.doubts.push(`${at.toString(16)}: count ${asked.counted}, expected ${icount}`);
    }
    this.here = { at, icount: asked?.counted ?? icount, instruction };
  }

  /** Adds the records of the step from `here` to `at`. Returns the instruction count there. */
  private resolve(at: bigint, counted: number | undefined, pushed: bigint | undefined): number {
    const { here, next } = this;
    const { instruction } = here;
    // An exception that is raised while another is delivered is in the log, too, but only the last one reaches its
    // handler.
    while (counted !== undefined && counted > here.icount && this.pending === here.icount) this.delivery++;
    if (counted === here.icount && at === here.at) {
      this.emptySteps++;
      return here.icount;
    }
    if (this.pending === here.icount) return this.deliver(here.at, at, here.icount);
    const icount = here.icount + 1;
    if (this.pending === icount && instruction !== undefined) {
      const interrupt = this.deliveries.interrupts[this.delivery] === 1;
      if (interrupt && instruction.flow === "halt" && at !== next) return this.deliver(next, at, icount);
      if (!interrupt && !mayReach(instruction, here.at, at)) {
        // A trap after an instruction that ran: that instruction may itself have been a branch.
        const trapped = pushed !== undefined && pushed !== here.at && mayReach(instruction, here.at, pushed);
        if (trapped) this.transfer(instruction, pushed, icount);
        return this.deliver(trapped ? pushed : here.at, at, icount);
      }
    }
    if (instruction === undefined || !mayReach(instruction, here.at, at)) {
      const text = instruction?.text ?? "(no instruction)";
      this.doubts.push(`${here.at.toString(16)} ${text} went to ${at.toString(16)} @${icount}`);
      return icount;
    }
    this.transfer(instruction, at, icount);
    return icount;
  }

  private transfer(instruction: Instruction, to: bigint, icount: number): void {
    const kind = transferOf(instruction, to, this.next);
    if (kind !== undefined) this.records.push({ from: this.here.at, to, kind, icount });
  }

  private deliver(from: bigint, to: bigint, icount: number): number {
    const kind: BranchKind = this.deliveries.interrupts[this.delivery] === 1 ? "interrupt" : "exception";
    this.records.push({ from, to, kind, icount });
    this.delivery++;
    return icount;
  }
}

/** Can `at` follow an instruction that ran? */
function mayReach(instruction: Instruction, from: bigint, at: bigint): boolean {
  const next = from + BigInt(instruction.length);
  switch (instruction.flow) {
    case "next":
    case "halt":
    case "pause":
      return at === next || (instruction.repeats && at === from);
    case "jump":
    case "call":
      return at === instruction.target;
    case "conditional":
      return at === instruction.target || at === next;
    case "trap":
      return false;
    default:
      return true;
  }
}

/** The kind of record an executed instruction makes; undefined when it is none. */
function transferOf(instruction: Instruction, at: bigint, next: bigint): BranchKind | undefined {
  switch (instruction.flow) {
    case "next":
    case "halt":
    case "pause":
    case "trap":
      return undefined;
    case "conditional":
      return at === next ? undefined : "conditional";
    default:
      return instruction.flow;
  }
}
