import type { BranchKind, BranchRecord } from "./branch-record.js";
import { littleEndian } from "./gdb-remote.js";
import { decode, type Instruction } from "./instruction.js";
import { type Deliveries, firstDeliveryFrom, readDeliveries, replayLogOf } from "./replay-events.js";
import { ReplayProcess } from "./replay-process.js";

/** Every branch between two instants, found by single-stepping. */
export interface SteppedWindow {
  /** Instructions executed before the first step and after the last one. */
  readonly from: number;
  readonly to: number;
  readonly records: readonly BranchRecord[];
  readonly steps: number;
  readonly seconds: number;
  /** Steps that the oracle cannot explain; a sound run has none. */
  readonly doubts: readonly string[];
  /** Steps at which QEMU stopped again without having executed anything. */
  readonly emptySteps: number;
}

/** Where a window begins or ends: an instruction count, or the first time an address is next. */
export type Point = { readonly icount: number } | { readonly address: bigint };

interface Mode {
  readonly bitness: 16 | 32 | 64;
  /** Linear base of the code segment. */
  readonly base: bigint;
}

/** One instruction that is about to be executed. */
interface Here {
  readonly at: bigint;
  readonly icount: number;
  readonly instruction: Instruction | undefined;
}

const ipRegister = "p10";
const csRegister = "p12";
/** The instruction count is asked for at least this often. */
const askedEvery = 2048;

/**
 * The single-step oracle. It drives a plain QEMU replaying a tape through the GDB remote protocol, sees the
 * address of each instruction that runs, and derives the branch records from these addresses, from the bytes of
 * the instructions (decoded by iced-x86) and from the instants of interrupts and exceptions in the replay log.
 *
 * What a single step of QEMU 7.2 and 10.0 shows:
 * - each executed instruction, and each iteration of a `rep` instruction, adds 1 to the instruction count; a
 *   `rep` shows its own address again after each iteration;
 * - an interrupt takes one step of its own: the address that would have run next is shown, then the handler,
 *   with the same instruction count. After `hlt` the two are one step;
 * - an exception takes one step as well and adds nothing when the instruction had begun to access memory, but
 *   counts the instruction when it was refused at decoding (`int n`, `ud2`, a privileged instruction in ring 3);
 * - an exception during the delivery of another is in the replay log as well, without a step of its own;
 * - a trap of TF shows only the handler: where the instruction before it went is on the handler's stack;
 * - a step goes on through `pause` and shows what comes behind the next instruction;
 * - a step sometimes executes nothing (after a device raised an interrupt line): same address, same count.
 */
export class SingleStepper implements AsyncDisposable {
  private readonly process: ReplayProcess;
  private readonly deliveries: Deliveries;
  private readonly decoded = new Map<string, Instruction | undefined>();
  private readonly longModes = new Map<bigint, Mode>();
  /** The instruction last seen at an address: a guess, never a fact. */
  private readonly seen = new Map<bigint, Instruction>();
  private mode: Mode = { bitness: 16, base: 0xffff0000n };
  private selector = -1n;

  private constructor(process: ReplayProcess, deliveries: Deliveries) {
    this.process = process;
    this.deliveries = deliveries;
  }

  /** @param argv a whole replaying QEMU command, as `vmtape info --json` gives it in `replayCommand` */
  static async start(argv: readonly string[]): Promise<SingleStepper> {
    const deliveries = readDeliveries(replayLogOf(argv));
    return new SingleStepper(await ReplayProcess.start(argv), deliveries);
  }

  /**
   * Runs to `begin`, then steps to `end`. Windows of one stepper must follow each other.
   * An instruction count at which an interrupt or exception was taken is moved back to the one before, so that
   * a window never begins or ends between two instants of the same count.
   */
  async step(begin: Point, end: Point, onProgress?: (steps: number) => void): Promise<SteppedWindow> {
    const { process } = this;
    const { gdb } = process;
    const { icounts } = this.deliveries;
    if ("icount" in begin) await process.runTo(this.quietInstant(begin.icount));
    else await process.runToAddress(begin.address);
    const last = "icount" in end ? this.quietInstant(end.icount) : Number.POSITIVE_INFINITY;
    const lastAddress = "address" in end ? end.address : -1n;

    const from = await process.icount();
    const records: BranchRecord[] = [];
    const doubts: string[] = [];
    const successors = new Map<bigint, bigint>();
    let delivery = firstDeliveryFrom(this.deliveries, from);
    let steps = 0;
    let emptySteps = 0;
    let sinceAsked = 0;
    const started = performance.now();
    this.selector = -1n;
    this.seen.clear();
    let here = await this.look(from);
    /** Has the step that leaves `here` been made already? */
    let overshot = false;
    /** Instructions at the end that the last step has not executed. */
    let unshown = 0;

    /** What happened between `here` and the next stop at `at`; gives the instruction count there. */
    const resolve = (at: bigint, counted: number | undefined, pushed?: bigint): number => {
      const { instruction } = here;
      // An exception raised while another is delivered is in the log too, but only the last one got anywhere.
      while (counted !== undefined && counted > here.icount && icounts[delivery] === here.icount) delivery++;
      const pending = icounts[delivery] ?? Number.POSITIVE_INFINITY;
      const next = instruction === undefined ? -1n : here.at + BigInt(instruction.length);
      const transfer = (done: Instruction, to: bigint, icount: number): void => {
        const kind = transferOf(done, to, next);
        if (kind !== undefined) records.push({ from: here.at, to, kind, icount });
      };
      const deliver = (origin: bigint, icount: number): number => {
        const kind: BranchKind = this.deliveries.interrupts[delivery] === 1 ? "interrupt" : "exception";
        records.push({ from: origin, to: at, kind, icount });
        delivery++;
        return icount;
      };
      if (counted === here.icount && at === here.at) {
        emptySteps++;
        return here.icount;
      }
      if (pending === here.icount) return deliver(here.at, here.icount);
      const icount = here.icount + 1;
      if (pending === icount && instruction !== undefined) {
        const interrupt = this.deliveries.interrupts[delivery] === 1;
        if (interrupt && instruction.flow === "halt" && at !== next) return deliver(next, icount);
        if (!interrupt && !mayReach(instruction, here.at, at)) {
          // A trap after an instruction that ran: that instruction may itself have gone somewhere.
          const trapped =
            pushed !== undefined && pushed !== here.at && mayReach(instruction, here.at, pushed);
          if (trapped) transfer(instruction, pushed, icount);
          return deliver(trapped ? pushed : here.at, icount);
        }
      }
      if (instruction === undefined || !mayReach(instruction, here.at, at)) {
        const text = instruction?.text ?? "(no instruction)";
        doubts.push(`${here.at.toString(16)} ${text} went to ${at.toString(16)} @${icount}`);
        return icount;
      }
      transfer(instruction, at, icount);
      return icount;
    };

    while (here.icount < last && here.at !== lastAddress) {
      // Here is known and the machine has yet to leave it.
      // A step goes on through `pause`, so what follows it must be looked at before.
      while (here.instruction?.flow === "pause" && icounts[delivery] !== here.icount) {
        const at = here.at + BigInt(here.instruction.length);
        here = { at, icount: here.icount + 1, instruction: await this.fetch(at) };
        steps++;
        unshown++;
      }
      if (here.icount >= last || here.at === lastAddress) break;
      unshown = 0;
      if (!overshot) await this.expectStep(await gdb.request("s"));
      steps++;
      if (steps % 10_000 === 0) onProgress?.(steps);
      const guess = this.guess(here, successors, lastAddress);
      const pending = icounts[delivery] ?? Number.POSITIVE_INFINITY;
      overshot =
        guess !== undefined && ++sinceAsked < askedEvery && here.icount + 4 < Math.min(pending, last);
      let next: Here;
      if (overshot) {
        // The common case in one round trip: where is it, are the bytes there as guessed, and on to the next step.
        const code = `m${guess!.at.toString(16)},10`;
        const [ip, selector, bytes, step] = await gdb.batch([ipRegister, csRegister, code, "s"]);
        await this.expectStep(step!);
        const at = littleEndian(ip!);
        await this.followSelector(littleEndian(selector!));
        const instruction =
          at === guess!.at && !bytes!.startsWith("E") ? this.decode(bytes!, at) : await this.fetch(at);
        next = { at, icount: resolve(at, undefined), instruction };
      } else {
        const counted = await process.icount();
        sinceAsked = 0;
        if (here.instruction?.changesMode) this.selector = -1n;
        const looked = await this.look(counted);
        const excepted = pending === here.icount + 1 && counted === pending && looked.at !== here.at;
        const pushed = excepted && this.mode.bitness === 64 ? await this.pushedAddress() : undefined;
        const icount = resolve(looked.at, counted, pushed);
        if (icount !== counted)
          doubts.push(`${looked.at.toString(16)}: count ${counted}, expected ${icount}`);
        next = { ...looked, icount: counted };
      }
      successors.set(here.at, next.at);
      here = next;
    }
    const seconds = (performance.now() - started) / 1000;
    const to = (await process.icount()) - (overshot ? 1 : 0) + unshown;
    if (to !== here.icount) doubts.push(`the window ends at ${to}, expected ${here.icount}`);
    return { from, to, records, steps, seconds, doubts, emptySteps };
  }

  /** What is about to be executed, now that the machine stands still. */
  private async look(icount: number): Promise<Here> {
    const [ip, selector] = await this.process.gdb.batch([ipRegister, csRegister]);
    await this.followSelector(littleEndian(selector!));
    const at = this.mode.base + littleEndian(ip!);
    return { at, icount, instruction: await this.fetch(at) };
  }

  /** What lies on top of the stack: the return address of an exception without an error code. */
  private async pushedAddress(): Promise<bigint | undefined> {
    const stack = littleEndian(await this.process.gdb.request("p7"));
    const bytes = await this.process.gdb.request(`m${stack.toString(16)},8`);
    return bytes.startsWith("E") ? undefined : littleEndian(bytes);
  }

  /** Asks for the processor's mode when the code segment is another one. */
  private async followSelector(selector: bigint): Promise<void> {
    if (selector === this.selector) return;
    this.selector = selector;
    // In long mode a selector's meaning does not change under the guests we know; below it does.
    const known = this.longModes.get(selector);
    if (known !== undefined) {
      this.mode = known;
      return;
    }
    const text = (await this.process.execute("human-monitor-command", {
      "command-line": "info registers",
    })) as string;
    const segment = text.match(/^CS =([0-9a-f]{4}) ([0-9a-f]+) [0-9a-f]+ ([0-9a-f]{8})/m)!;
    if (BigInt(`0x${segment[1]}`) !== selector) throw new Error("two code segment changes in two steps");
    const flags = Number.parseInt(segment[3]!, 16);
    const long = (Number.parseInt(text.match(/EFER=([0-9a-f]+)/)![1]!, 16) & 0x400) !== 0;
    const is64 = long && (flags & (1 << 21)) !== 0;
    const is32 = (flags & (1 << 22)) !== 0;
    this.mode = { bitness: is64 ? 64 : is32 ? 32 : 16, base: is64 ? 0n : BigInt(`0x${segment[2]}`) };
    if (long) this.longModes.set(selector, this.mode);
  }

  /**
   * Where the machine most likely is after `here`, when the step from there may be sent unseen: it must not be
   * one that can repeat its own address or change the mode.
   */
  private guess(
    here: Here,
    successors: Map<bigint, bigint>,
    stop: bigint,
  ): { readonly at: bigint } | undefined {
    const { instruction } = here;
    if (this.mode.bitness !== 64 || instruction === undefined || unsteady(instruction, here.at))
      return undefined;
    const at = successors.get(here.at) ?? here.at + BigInt(instruction.length);
    const there = this.seen.get(at);
    return there === undefined || unsteady(there, at) || at === stop ? undefined : { at };
  }

  /** Reads and decodes the instruction at `at`; undefined when it cannot be fetched or is none. */
  private async fetch(at: bigint): Promise<Instruction | undefined> {
    let bytes = await this.process.gdb.request(`m${at.toString(16)},10`);
    if (bytes.startsWith("E")) {
      const left = 0x1000n - (at & 0xfffn);
      bytes = await this.process.gdb.request(`m${at.toString(16)},${left.toString(16)}`);
    }
    return bytes.startsWith("E") ? undefined : this.decode(bytes, at);
  }

  private decode(hex: string, at: bigint): Instruction | undefined {
    const key = `${at.toString(16)} ${this.mode.bitness} ${hex}`;
    let instruction = this.decoded.get(key);
    if (instruction === undefined) {
      instruction = decode(Buffer.from(hex, "hex"), this.mode.bitness, at, this.mode.base);
      if (instruction !== undefined) this.decoded.set(key, instruction);
    }
    if (instruction !== undefined) this.seen.set(at, instruction);
    return instruction;
  }

  /** The instruction count itself, or the nearest one before it at which nothing was delivered. */
  private quietInstant(icount: number): number {
    let quiet = icount;
    while (this.deliveries.icounts[firstDeliveryFrom(this.deliveries, quiet)] === quiet) quiet--;
    return quiet;
  }

  private async expectStep(reply: string): Promise<void> {
    if (!reply.startsWith("T05")) throw new Error(`a step ended with ${reply}: the machine has stopped`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

/** Can this instruction's own address be the next one shown, or can it change how code is read? */
function unsteady(instruction: Instruction, at: bigint): boolean {
  const { flow, target, repeats, changesMode } = instruction;
  return (
    repeats ||
    changesMode ||
    target === at ||
    flow === "halt" ||
    flow === "pause" ||
    flow === "trap" ||
    flow === "indirect-jump"
  );
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
