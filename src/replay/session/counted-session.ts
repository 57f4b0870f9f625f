import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import type { RunContext } from "../../base/run-context.js";
import { Scope } from "../../base/scope.js";
import { brctr, guestAddress, type Icount, icount } from "../../base/units.js";
import { GdbStub } from "../../qemu/gdb-stub.js";
import { MachineMemory } from "../../qemu/machine-memory.js";
import { type PluginChannel, probeChannels } from "../../qemu/plugin-channel.js";
import { ProbeChannel } from "../../qemu/probe-channel.js";
import type { HitBatch } from "../../qemu/probe-hits.js";
import { GuestRam } from "../../qemu/ram.js";
import type { MappedRange } from "../../qemu/x86-paging.js";
import { registerValue } from "../../qemu/x86-registers.js";
import type { Tape } from "../../tape/tape.js";
import type { CountedCheckpoint } from "./checkpoint.js";
import { EventInstants } from "./event-instants.js";
import { startPlugged } from "./plugged-session.js";
import { placePoints, pointsText } from "./point-hits.js";
import type { Position } from "./position.js";
import type { Session } from "./session.js";
import type { Instant, StopPoint } from "./timeline-types.js";

export interface CountedSessionOptions extends RunContext {
  /** The built plugin (`buildPlugin`): it counts the branches. */
  readonly plugin: string;
  readonly from?: CountedCheckpoint | undefined;
  /** See `SessionOptions`. */
  readonly checkpointsTo?: string | undefined;
}

/** A session's position, registers and number of deliveries at one instant. */
export interface Shot {
  readonly position: Position;
  /** The `g` block. */
  readonly registers: Uint8Array;
  /** Deliveries made at its icount. */
  readonly delivered: bigint;
}

/**
 * Up to so many instructions are executed by single steps; more of them by QEMU's `replay-break`, which costs some 2
 * ms.
 */
const fewSteps = 6n;
/** So much code is read at once, in bytes. */
const codeBytes = 96;
/** The most deliveries at one icount: an interrupt whose handler faults at once, whose handler faults at once … */
const mostDeliveries = 16;

/**
 * A running replay whose position is always known, and whose state can be read: a {@link Session} with the branch
 * plugin and QEMU's own GDB stub. Like any session it only ever moves forward.
 *
 * It stops exactly at the wanted instant. QEMU's `replay-break` stops before or after a delivery at its icount, as it
 * happens; a single step of the stub does not. So the last instruction on the way to an instant is a single step.
 */
export class CountedSession implements AsyncDisposable {
  readonly session: Session;
  private readonly scope: Scope;
  private readonly tape: Tape;
  private readonly channel: PluginChannel;
  private readonly stub: GdbStub;
  private readonly memory: MachineMemory;
  private readonly probes: ProbeChannel;
  private hitListener: ((batch: HitBatch) => void) | undefined;
  private armed = "";
  private here: Position;
  /** Deliveries made at the present icount. */
  private delivered = 0n;
  private before: Instant | undefined;
  private block: Uint8Array | undefined;
  /** Code that was read a moment ago. */
  private code: { readonly start: bigint; readonly bytes: Uint8Array } = {
    start: 0n,
    bytes: new Uint8Array(),
  };
  private interrupts: EventInstants | undefined;

  private constructor(
    scope: Scope,
    session: Session,
    parts: {
      tape: Tape;
      channel: PluginChannel;
      probes: ProbeChannel;
      stub: GdbStub;
      memory: MachineMemory;
    },
    here: Position,
  ) {
    this.scope = scope;
    this.session = session;
    this.tape = parts.tape;
    this.channel = parts.channel;
    this.stub = parts.stub;
    this.memory = parts.memory;
    this.probes = parts.probes;
    void this.listen();
    this.here = here;
  }

  /**
   * Starts a session at a checkpoint or at the tape's beginning. Cost: some 50 ms.
   *
   * @throws everything `Session.create` and `Session.start` throw. The tape's files are not checked again.
   */
  static async start(tape: Tape, options: CountedSessionOptions): Promise<CountedSession> {
    await using scope = new Scope();
    const { session, channel, begun } = scope.own(
      await startPlugged(tape, { ...options, trusted: true, probes: { follow: true }, device: "stub" }),
    );
    // Not with `-gdb`: QEMU would save a snapshot with all of RAM before the plugin can tell it not to.
    await session.qmp.human("gdbserver chardev:stub");
    const stub = await GdbStub.connect(session.channels.at(-1)!);
    const ram = scope.own(await GuestRam.open(session.pid!));
    const probes = new ProbeChannel(channel, session.channels[probeChannels - 1]);
    const parts = { tape, channel, probes, stub, memory: new MachineMemory(ram, stub) };
    const counted = new CountedSession(scope.move(), session, parts, {
      icount: begun.icount,
      brctr: begun.brctr,
      pc: begun.pc ?? guestAddress(0),
      rep: begun.rep,
    });
    counted.delivered = begun.delivered;
    if (begun.pc === undefined) await counted.look();
    return counted;
  }

  /** Where it stands. */
  get position(): Position {
    return this.here;
  }

  /** Deliveries already made at the present icount. */
  get deliveries(): bigint {
    return this.delivered;
  }

  async shot(): Promise<Shot> {
    return { position: this.here, registers: (await this.registers()).slice(), delivered: this.delivered };
  }

  /**
   * Begins or ends a film (plugin/branches/film.h): its records arrive as hits with the id `filmRecordId`. Cost: some
   * 10 ms, because QEMU translates its blocks anew.
   */
  async film(what: "writes" | "accesses" | "off" | { readonly register: number }): Promise<void> {
    await this.channel.command(`film ${typeof what === "string" ? what : `register ${what.register}`}`);
  }

  /** The instant just before this one; undefined when the session did not come here by a step. */
  get previous(): Instant | undefined {
    return this.before;
  }

  /** Can its machine go on? */
  get alive(): boolean {
    return this.session.state === "paused" || this.session.state === "running";
  }

  /** Can it get to `instant` by running forward? */
  isBefore(instant: Instant): boolean {
    const { icount: now, pc } = this.here;
    // From the first of several instants with one icount all others are reached; from a later one only itself, as far
    // as is known.
    if (now < instant.icount) return true;
    return now === instant.icount && (pc === instant.pc || this.delivered === 0n);
  }

  /**
   * Runs forward to `instant`, exactly. When cancelled, it stands somewhere on the way.
   *
   * @throws `not-reached` when no delivery at that icount leads to the instant's address; `cancelled`; everything
   *   `Session.runTo` throws
   */
  async runTo(instant: Instant, signal?: AbortSignal): Promise<Position> {
    const target = instant.icount;
    await this.arm([]);
    if (target - this.here.icount > fewSteps) await this.coarse(icount(target - 1n), signal);
    while (this.here.icount < target) await this.step();
    if (instant.pc === undefined) return this.here;
    for (let made = 0; this.here.pc !== instant.pc; made++) {
      if (made === mostDeliveries || this.here.icount !== target) {
        throw new VmtapeError("not-reached", `the machine is not at ${instant.pc} at icount ${target}`, {
          icount: target,
        });
      }
      await this.step();
    }
    return this.here;
  }

  /**
   * Runs forward until a point of {@link arm} stops it, or to `limit`. See `runTo`.
   */
  async run(limit: Icount, signal?: AbortSignal): Promise<Position> {
    if (limit - this.here.icount > fewSteps) {
      const reached = await this.coarse(icount(limit - 1n), signal);
      if (reached !== "break") return this.here;
    }
    while (this.here.icount < limit) await this.step();
    return this.here;
  }

  /**
   * Goes to the next instant: by one instruction, or one delivery of an interrupt or exception. Cost: some 0.5 ms.
   */
  async step(): Promise<Position> {
    const { icount: now, pc } = this.here;
    if (await this.goesToWait()) {
      await this.coarse(icount(now + 1n));
    } else {
      this.block = undefined;
      await this.stub.step();
      await this.look();
    }
    this.before = { icount: now, pc };
    return this.here;
  }

  /**
   * Is a `hlt` next, an `mwait` or a `pause`? A step of the stub over one ends only after what wakes the processor, or after one
   * instruction more; `replay-break` stops right after it.
   */
  private async goesToWait(): Promise<boolean> {
    const code = Buffer.from((await this.codeHere()).subarray(0, 3)).toString("hex");
    if (!/^(f4|0f01c9|f390)/.test(code)) return false;
    // It may stand still already, before another one; and an interrupt at this icount comes before the instruction.
    const { icount: now } = this.here;
    this.interrupts ??= await EventInstants.of(this.tape, ["interrupt"]);
    if (this.delivered === 0n && this.interrupts.firstFrom(Number(now)) === Number(now)) return false;
    return !/\bHLT=1\b/.test(await this.session.qmp.human("info registers"));
  }

  /** The first bytes of the code here, read some at a time. */
  private async codeHere(): Promise<Uint8Array> {
    const { pc } = this.here;
    const at = Number(pc - this.code.start);
    if (at >= 0 && at + 3 <= this.code.bytes.length) return this.code.bytes.subarray(at);
    this.code = { start: pc, bytes: (await this.readMemory(pc, codeBytes)) ?? new Uint8Array() };
    return this.code.bytes;
  }

  /** The registers here, as the stub's `g` packet lays them out. Borrowed until the session moves. */
  async registers(): Promise<Uint8Array> {
    this.block ??= await this.stub.registers();
    return this.block;
  }

  register(number: number): Promise<Uint8Array | undefined> {
    return this.stub.register(number);
  }

  description(annex: string): Promise<string | undefined> {
    return this.stub.description(annex);
  }

  /** As many bytes from a virtual address on as are mapped. See {@link MachineMemory.read}. */
  async readMemory(address: bigint, length: number): Promise<Uint8Array | undefined> {
    return this.memory.read(await this.registers(), address, length);
  }

  readPhysical(address: bigint, length: number): Promise<Uint8Array | undefined> {
    return this.memory.readPhysical(address, length);
  }

  /**
   * Whether the code segment is one of 16, 32 or 64 bits. No register of the stub tells that, so the monitor is
   * asked.
   */
  async codeSize(): Promise<16 | 32 | 64> {
    const text = await this.session.qmp.human("info registers");
    const [, size] = /^CS =.* CS(16|32|64) /m.exec(text) ?? [];
    return size === "16" ? 16 : size === "32" ? 32 : 64;
  }

  /** The physical address of a virtual one; undefined when it is not mapped. */
  async translate(address: bigint): Promise<bigint | undefined> {
    return this.memory.translate(await this.registers(), address);
  }

  /** How the addresses around a virtual one are mapped. */
  async mappedRange(address: bigint): Promise<MappedRange> {
    return this.memory.mappedRange(await this.registers(), address);
  }

  /** Was the session made to leave checkpoints? */
  get leavesCheckpoints(): boolean {
    return this.session.leavesCheckpoints;
  }

  /**
   * Makes a checkpoint of this instant; the session must have been made with `checkpointsTo`. The tape's budget is
   * not checked here; `leaveCheckpoint` does that.
   */
  async checkpoint(): Promise<void> {
    const { delivered } = this;
    const { icount: at, brctr: branches, rep } = this.here;
    await this.session.checkpoint({ icount: at, brctr: branches, delivered, rep });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.scope[Symbol.asyncDispose]();
  }

  /**
   * Sets these points in the stopped machine, in place of those that were set before. A breakpoint stops the machine
   * by itself. They stay set until the next call of this or {@link runTo}.
   */
  async arm(points: readonly StopPoint[]): Promise<void> {
    const text = pointsText(points);
    if (text === this.armed) return;
    if (this.armed !== "") await this.probes.removeAll();
    this.armed = text;
    await placePoints(this.probes, points, { stop: true });
  }

  /** Gives all hits to `listener`, in batches, which are borrowed. The function that is returned ends that. */
  onHits(listener: (batch: HitBatch) => void): () => void {
    this.hitListener = listener;
    return () => {
      this.hitListener = undefined;
    };
  }

  /** Resolves when the listener has got all hits up to here. The machine must be stopped. */
  settled(): Promise<void> {
    return this.probes.settled();
  }

  private async listen(): Promise<void> {
    try {
      for await (const batch of this.probes.hits()) this.hitListener?.(batch);
    } catch {
      // the machine is gone, or sends nonsense: the next call that moves it fails
    }
  }

  /** Runs by `replay-break`, which may stop before or after a delivery at `target`. */
  private async coarse(target: Icount, signal?: AbortSignal): Promise<"break" | "end" | "paused"> {
    this.before = undefined;
    this.code = { start: 0n, bytes: new Uint8Array() };
    try {
      const { why } = await this.session.runTo(target, signal);
      await this.look();
      return why;
    } catch (error) {
      if (isVmtapeError(error, "cancelled")) await this.look();
      throw error;
    }
  }

  /** Asks the stopped machine where it is. */
  private async look(): Promise<Position> {
    this.block = undefined;
    const { icount: now, brctr: branches, pc, rep, delivered } = await this.channel.where();
    this.delivered = delivered;
    const address = pc ?? guestAddress(registerValue(await this.registers(), "rip"));
    this.here = { icount: icount(now), brctr: brctr(branches), pc: address, rep };
    return this.here;
  }
}
