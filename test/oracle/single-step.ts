import type { BranchRecord } from "./branch-record.js";
import { littleEndian } from "./gdb-remote.js";
import { decode, type Instruction } from "./instruction.js";
import { type Deliveries, firstDeliveryFrom, readDeliveries, replayLogOf } from "./replay-events.js";
import { ReplayProcess } from "./replay-process.js";
import { type Here, StepMeaning } from "./step-meaning.js";

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

const ipRegister = "p10";
const csRegister = "p12";
const stackRegister = "p7";
/** The instruction count is asked for at least this often. */
const askedEvery = 2048;
/** Distance, in instructions, from a delivery or the end at which steps are taken one by one. */
const caution = 4;

/**
 * The single-step oracle. It drives a plain QEMU replaying a tape through the GDB remote protocol, sees the
 * address of each instruction that runs, and derives the branch records from these addresses, from the bytes of
 * the instructions (decoded by iced-x86) and from the instants of interrupts and exceptions in the replay log.
 * What a step of QEMU shows and what it means is in step-meaning.ts.
 */
export class SingleStepper implements AsyncDisposable {
  private readonly process: ReplayProcess;
  private readonly deliveries: Deliveries;
  private readonly decoded = new Map<string, Instruction | undefined>();
  private readonly longModes = new Map<bigint, Mode>();
  /** The instruction that was last seen at an address. It is only used as a guess. */
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
   * Runs to `begin`, then steps to `end`. Windows of one stepper must follow each other. When an interrupt or
   * exception was taken at an instruction count, the count before is used, so that a window never begins or ends
   * between two instants of the same count.
   */
  async step(begin: Point, end: Point, onProgress?: (steps: number) => void): Promise<SteppedWindow> {
    const { process, deliveries } = this;
    const { gdb } = process;
    if ("icount" in begin) await process.runTo(this.quietInstant(begin.icount));
    else await process.runToAddress(begin.address);
    const last = "icount" in end ? this.quietInstant(end.icount) : Number.POSITIVE_INFINITY;
    const lastAddress = "address" in end ? end.address : -1n;

    const from = await process.icount();
    const successors = new Map<bigint, bigint>();
    this.selector = -1n;
    this.seen.clear();
    const meaning = new StepMeaning(deliveries, firstDeliveryFrom(deliveries, from), await this.look(from));
    let sinceAsked = 0;
    /** Has the step that leaves `meaning.here` been made already? */
    let overshot = false;
    /** Instructions at the end that the last step has not executed. */
    let unshown = 0;
    const started = performance.now();
    const ended = () => meaning.here.icount >= last || meaning.here.at === lastAddress;
    while (!ended()) {
      // The instruction at `here` is known, and the machine has yet to leave it or has just done so.
      while (meaning.runsOn) {
        meaning.runOn(await this.fetch(meaning.next));
        unshown++;
      }
      if (ended()) break;
      unshown = 0;
      if (!overshot) await this.expectStep(await gdb.soon("s"));
      if (++meaning.steps % 10_000 === 0) onProgress?.(meaning.steps);
      const { here } = meaning;
      const guess = this.guess(here, successors, lastAddress);
      overshot =
        guess !== undefined &&
        ++sinceAsked < askedEvery &&
        here.icount + caution < Math.min(meaning.pending, last);
      if (overshot) {
        // The common case in one round trip: asks where the machine is, checks that the bytes there are as guessed,
        // and makes the next step.
        const code = `m${guess!.toString(16)},10`;
        const [ip, selector, bytes, step] = await gdb.batch([ipRegister, csRegister, code, "s"]);
        await this.expectStep(step!);
        const at = littleEndian(ip!);
        await this.followSelector(littleEndian(selector!));
        const asGuessed = at === guess && !bytes!.startsWith("E");
        meaning.leave(at, asGuessed ? this.decode(bytes!, at) : await this.fetch(at));
      } else {
        sinceAsked = 0;
        if (here.instruction?.changesMode) this.selector = -1n;
        const next = await this.look(await process.icount());
        const excepted = meaning.pending === here.icount + 1 && next.icount === meaning.pending;
        const pushed = excepted && this.mode.bitness === 64 ? await this.pushedAddress() : undefined;
        meaning.leave(next.at, next.instruction, { counted: next.icount, pushed });
      }
      successors.set(here.at, meaning.here.at);
    }
    const seconds = (performance.now() - started) / 1000;
    const { records, doubts, steps, emptySteps, here } = meaning;
    const to = (await process.icount()) - (overshot ? 1 : 0) + unshown;
    if (to !== here.icount) doubts.push(`the window ends at ${to}, expected ${here.icount}`);
    return { from, to, records, steps, seconds, doubts, emptySteps };
  }

  /** The instruction that is about to be executed by the stopped machine. */
  private async look(icount: number): Promise<Here> {
    const [ip, selector] = await this.process.gdb.batch([ipRegister, csRegister]);
    await this.followSelector(littleEndian(selector!));
    const at = this.mode.base + littleEndian(ip!);
    return { at, icount, instruction: await this.fetch(at) };
  }

  /** What lies on top of the stack: the return address of an exception without an error code. */
  private async pushedAddress(): Promise<bigint | undefined> {
    const stack = littleEndian(await this.process.gdb.request(stackRegister));
    const bytes = await this.process.gdb.request(`m${stack.toString(16)},8`);
    return bytes.startsWith("E") ? undefined : littleEndian(bytes);
  }

  /** Asks for the processor's mode when the code segment has changed. */
  private async followSelector(selector: bigint): Promise<void> {
    if (selector === this.selector) return;
    this.selector = selector;
    // In long mode these guests never change the meaning of a selector; in other modes they do.
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
  private guess(here: Here, successors: ReadonlyMap<bigint, bigint>, stop: bigint): bigint | undefined {
    const { instruction } = here;
    if (this.mode.bitness !== 64 || instruction === undefined || unsteady(instruction, here.at))
      return undefined;
    const at = successors.get(here.at) ?? here.at + BigInt(instruction.length);
    const there = this.seen.get(at);
    return there === undefined || unsteady(there, at) || at === stop ? undefined : at;
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
