import { isVmtapeError } from "../base/errors.js";
import type { Stoppable } from "../base/run-context.js";
import { throwIfCancelled } from "../base/stopping.js";
import { type GuestAddress, type Icount, physicalAddress } from "../base/units.js";
import type { PrintedValue } from "../linux/context/instant-context.js";
import type { LastChange } from "../linux/context/last-change.js";
import type { Inspection } from "../linux/context/shown-value.js";
import { currentTask } from "../linux/guest/current-task.js";
import type { LinuxGuest } from "../linux/guest/linux-guest.js";
import { linuxOf, type TapeInstant } from "../linux/names/tape-instant.js";
import { type CommandLine, readCommandLine } from "../linux/objects/command-line.js";
import { type KernelLog, readKernelLog } from "../linux/objects/kernel-log.js";
import { type ModuleFacts, readLoadedModules } from "../linux/objects/loaded-modules.js";
import { type Mapping, readMappings } from "../linux/objects/mappings.js";
import { type OpenFile, readOpenFiles } from "../linux/objects/open-files.js";
import type { Task } from "../linux/objects/task.js";
import { readTasks, taskAt, taskByPid } from "../linux/objects/task-list.js";
import type { NamedStack } from "../linux/stack/tape.js";
import type { Line } from "../qemu/x86-disassembly.js";
import {
  comparePositions,
  type Position,
  type PositionJson,
  positionToJson,
} from "../replay/session/position.js";
import type { Past } from "../replay/timeline/last-write.js";
import { type MemoryPlace, RegisterFile } from "./registers.js";

/** A tape that a moment is of. */
export interface MomentTape extends TapeInstant {
  describe(position: Position): string;
  addressOf(text: string): GuestAddress;
}

/** Bytes of guest memory; fewer than were asked for where nothing is mapped after them. */
export interface MemoryBytes {
  readonly range: MemoryPlace;
  readonly address: GuestAddress;
  /** undefined: nothing is mapped at the address. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * A tape at one instant: the machine, its memory, and what the guest's Linux was doing. All that is asked is answered for this
 * instant: when the timeline has gone elsewhere since, it comes back first, which costs the way.
 *
 * ```ts
 * const moment = await open.at("@1000000000");
 * const { values } = await moment.values(["current->comm", "jiffies"]);
 * console.log(moment.describe(), (await moment.registers()).value("rip"), values);
 * ```
 */
export class Moment {
  readonly position: Position;
  private readonly tape: MomentTape;
  private known: LinuxGuest | undefined;

  /** Where the tape's timeline stands now; see `OpenTape.at`. */
  constructor(tape: MomentTape) {
    this.tape = tape;
    this.position = tape.timeline.position;
  }

  /** The position with its place by name: `0xffffffff8128f3d0:12 @1234 <do_filp_open>`. */
  describe(): string {
    return this.tape.describe(this.position);
  }

  /** The name of the place here, with its offset; undefined where nothing has a name. */
  get symbol(): string | undefined {
    return this.tape.symbols.describe(this.position.pc);
  }

  /** The name of any address at this instant. */
  nameOf(address: bigint): string | undefined {
    return this.tape.symbols.describe(address);
  }

  /** Position and name: what every answer in JSON begins with. Counts are numbers, addresses text. */
  toJSON(): PositionJson & { readonly symbol: string | null } {
    return { ...positionToJson(this.position), symbol: this.symbol ?? null };
  }

  /** All registers: general, segment, control, FPU and SSE ones. */
  async registers(): Promise<RegisterFile> {
    await this.stand();
    return new RegisterFile(new Uint8Array(await this.tape.timeline.registers()));
  }

  /** Bytes of memory, through the page tables of this instant or of physical memory. */
  async memory(range: MemoryPlace): Promise<MemoryBytes> {
    const { timeline } = this.tape;
    const address = this.tape.addressOf(range.place);
    await this.stand();
    const bytes =
      range.space === "virtual"
        ? await timeline.readMemory(address, range.length)
        : await timeline.readPhysical(physicalAddress(address), range.length);
    return { range, address, bytes };
  }

  /**
   * Values of expressions as GDB prints them, with locals and arguments of the code here, types of the kernel and its modules,
   * and registers. One that fails does not keep the others from being told.
   *
   * @returns `notes`: what could not be used of debug information, or of the guest's system, in words for people
   */
  async values(
    expressions: readonly string[],
  ): Promise<{ readonly values: readonly PrintedValue[]; readonly notes: readonly string[] }> {
    const { printAt } = await import("../linux/context/instant-context.js");
    await this.stand();
    const notes = new Set<string>();
    const guest = await this.guestOr((why) => notes.add(`nothing is known of the guest's system: ${why}`));
    return { values: await printAt(this.tape, guest, expressions, notes), notes: [...notes] };
  }

  /**
   * The value of an expression, to unfold: its members, elements, and what pointers lead to, each read when it is asked for.
   *
   * ```ts
   * using inspection = await moment.inspect("current");
   * const [task] = await inspection.value.children(); // what the pointer leads to
   * for (const { name, type, text } of await task!.children({ most: 10 })) console.log(type, name, "=", text);
   * ```
   *
   * @throws as `values` tells of one that fails
   */
  async inspect(expression: string): Promise<Inspection> {
    const { inspectAt } = await import("../linux/context/shown-value.js");
    await this.stand();
    const guest = await this.guestOr(() => {});
    return inspectAt(this.tape, guest, expression, () => this.stand());
  }

  /** Instructions from here on. */
  async disassembly(count: number): Promise<readonly Line[]> {
    const { disassemble, longestInstruction } = await import("../qemu/x86-disassembly.js");
    const { timeline } = this.tape;
    await this.stand();
    const { pc } = this.position;
    const bytes = (await timeline.readMemory(pc, count * longestInstruction)) ?? new Uint8Array();
    return disassemble(bytes, await timeline.codeSize(), pc, count);
  }

  /** Who called what runs here, through kernel and program, with lines and inlined functions. */
  async stack(): Promise<NamedStack> {
    const { stackAt } = await import("../linux/stack/at.js");
    await this.stand();
    return stackAt(this.tape);
  }

  /** The guest's Linux. @throws `not-found` where none runs */
  async guest(): Promise<LinuxGuest> {
    await this.stand();
    this.known ??= await linuxOf(this.tape);
    return this.known;
  }

  /** Where the kernel keeps the task that runs. */
  async currentAddress(): Promise<bigint> {
    return currentTask(await this.guest());
  }

  /** The task that runs. */
  async task(): Promise<Task> {
    return taskAt(await this.guest(), await this.currentAddress());
  }

  /** All tasks, threads among them, in the order of the kernel's list. */
  async tasks(): Promise<readonly Task[]> {
    return readTasks(await this.guest());
  }

  /** One process, or the one that runs. @throws `not-found` */
  async process(pid: number | "current"): Promise<Task> {
    return pid === "current" ? this.task() : taskByPid(await this.guest(), pid);
  }

  /** The words a process was started with, as far as they are in memory; undefined for a kernel thread. */
  async commandLine(process: Task): Promise<CommandLine | undefined> {
    return readCommandLine(await this.guest(), process);
  }

  /** What is mapped in a process, as `/proc/PID/maps`; nothing in a kernel thread. */
  async mappings(process: Task): Promise<readonly Mapping[]> {
    return readMappings(await this.guest(), process);
  }

  /** The open files of a process. */
  async files(process: Task): Promise<readonly OpenFile[]> {
    return readOpenFiles(await this.guest(), process);
  }

  /** The modules that are loaded. */
  async modules(): Promise<readonly ModuleFacts[]> {
    return readLoadedModules(await this.guest());
  }

  /** The kernel's log as it stands in memory. */
  async log(): Promise<KernelLog> {
    return readKernelLog(await this.guest());
  }

  /**
   * Who wrote some bytes last before this instant; with `since`, all that did since then. The timeline stays here.
   *
   * @throws `cancelled`
   */
  async past(range: MemoryPlace, { since, signal }: Stoppable & { since?: Icount } = {}): Promise<Past> {
    const { pastOf } = await import("../replay/timeline/last-write.js");
    await this.stand();
    const address = this.tape.addressOf(range.place);
    const asked = {
      space: range.space,
      address: range.space === "physical" ? physicalAddress(address) : address,
      length: range.length,
    };
    return pastOf(this.tape.timeline, asked, since === undefined ? {} : { since }, signal);
  }

  /**
   * When and by what a register, or the value of an expression over memory, changed last before this instant, on the whole tape.
   *
   * ```ts
   * const change = await moment.lastChange("jiffies");
   * if (change) console.log(change.position.icount, change.before, change.after);
   * ```
   *
   * @returns undefined when it has not changed since the tape's start
   * @throws as {@link lastChangeOf}
   */
  async lastChange(what: string, options: Stoppable = {}): Promise<LastChange | undefined> {
    const { lastChangeOf } = await import("../linux/context/last-change.js");
    await this.stand();
    return lastChangeOf(this.tape, await this.guestOr(() => {}), what, options);
  }

  /** The guest's Linux, where there is one. */
  private async guestOr(tell: (why: string) => void): Promise<LinuxGuest | undefined> {
    // Without a banner it is no Linux, and nobody expects one.
    if (!this.tape.symbols.kernel?.banner) return undefined;
    try {
      return await this.guest();
    } catch (error) {
      if (!isVmtapeError(error, "not-found")) throw error;
      tell(error.message);
      return undefined;
    }
  }

  private async stand(): Promise<void> {
    const { timeline } = this.tape;
    if (comparePositions(timeline.position, this.position) === 0) return;
    this.known = undefined; // it reads through the machine, which had moved
    const { icount, pc } = this.position;
    throwIfCancelled(await timeline.goTo({ icount, pc }));
  }
}
