import { guestAddress } from "../../base/units.js";
import type { ProbeChannel, ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import type { HistoryTask } from "../history/task-history.js";
import { type Code, constant, register } from "../pass/collect-code.js";
import { currentCode, type ProbeNames, plainScope, probeExpression } from "../pass/probe-names.js";
import { compiled } from "../pass/probe-print.js";
import { ProbeSet } from "../pass/probe-set.js";
import {
  currentItems,
  currentPieces,
  numberOf,
  readCurrent,
  readTask,
  taskItems,
} from "../pass/probe-task.js";
import { signalNumber, signalText } from "./signal-names.js";
import { type CallName, type SignalFacts, siginfoBytes, signalFacts } from "./signals.js";
import type { SignalEvent, StopEvent } from "./task-events.js";

/** A kernel stack, which is aligned to its size. Source: arch/x86/include/asm/page_64_types.h, THREAD_SIZE. */
const stackBytes = 1 << 14;
/** Bits of `task_struct.jobctl`. Source: include/linux/sched/jobctl.h. */
const job = { signal: 0xffffn, dequeued: 1n << 16n, pending: 1n << 17n } as const;
/** `PF_EXITING`. Source: include/linux/sched.h. */
const exiting = 4n;
/** How many waiting signals are looked through, of the task's own and of its program's. */
const mostWaiting = 4;
const deadly = 0x7f;
/** `PIDTYPE_PID`. Source: include/linux/pid_types.h. */
const threadOnly = 0n;

/** Where a signal is met on its way. */
export type SignalHit = "handled" | "looks" | "fetches" | "stops" | "dies" | "sent";

/**
 * Tells which signals take effect on which task, and what was known of them. The kernel hands a signal from its queue to
 * one of these: a handler (`signal_setup_done`), a stop (`do_signal_stop`), or the end (`do_group_exit`). Only at the
 * first it passes the signal's facts on; at the others they lie in the caller's frame, whose place `get_signal` was told
 * by its own caller. A signal that ends a program at once never leaves its queue: there it is looked for. SIGCONT acts
 * when it is sent, and is told when its task goes on.
 */
export class TaskSignals {
  private readonly names: ProbeNames;
  private readonly probes = new ProbeSet<SignalHit>();
  private readonly callName: CallName;
  private readonly current: readonly ProbeItem[];
  /** By task, where the facts of the signal it takes from its queue are put. */
  private readonly frames = new Map<bigint, bigint>();
  private readonly stopped = new Set<bigint>();
  /** By program, the SIGCONT that its stopped tasks were sent. */
  private readonly continued = new Map<number, { readonly facts: SignalFacts; readonly target?: bigint }>();
  /** Programs whose deadly signal was told. */
  private readonly doomed = new Set<number>();

  constructor(names: ProbeNames, callName: CallName) {
    this.names = names;
    this.callName = callName;
    this.current = currentItems(names) ?? [];
  }

  /** Sets the probes, as far as the kernel has the symbols and types. */
  async place(channel: ProbeChannel): Promise<void> {
    const { names } = this;
    const info = names.types.findStruct("ksignal")?.findMember("info")?.byteOffset;
    const current = currentCode(names)?.follow();
    if (info === undefined || !current) return;
    const execute = async (
      hit: SignalHit,
      symbols: readonly string[],
      collect: ProbeItem[],
      when?: string,
    ) => {
      const at = symbols.map((symbol) => names.address(symbol)).find((one) => one !== undefined);
      const test = when === undefined ? undefined : await compiled(names, this.expression(when));
      if (at === undefined || (when !== undefined && !test)) return;
      await this.probes.place(
        channel,
        hit,
        { at: "execute", address: guestAddress(at) },
        { collect: [...collect, ...this.current], ...(test && { when: test }) },
      );
    };
    await execute("handled", ["signal_setup_done"], [memory(register("rsi").plus(info), siginfoBytes)]);
    await execute("looks", ["get_signal"], [registers("rdi")]);
    await execute("fetches", ["dequeue_signal"], []);
    await execute("stops", ["do_signal_stop"], this.stopItems(current));
    await execute("dies", ["do_group_exit"], this.deathItems(current), `$rdi & ${deadly}`);
    const sent = [registers("rcx", "rdx", "rsi"), memory(register("rsi"), siginfoBytes)];
    const target = "((struct task_struct *)$rdx)";
    await execute(
      "sent",
      ["__send_signal_locked", "send_signal_locked", "__send_signal", "send_signal"],
      [...sent, ...taskItems(names.types, register("rdx"))],
      `(int)$rdi == ${signalNumber.SIGCONT} && ` +
        `${target}->sighand->action[${signalNumber.SIGCONT - 1}].sa.sa_handler == 0 && ` +
        `!(${target}->blocked.sig[0] >> ${signalNumber.SIGCONT - 1} & 1)`,
    );
  }

  /** What a hit of this id is; undefined when it is none of these. */
  hitOf(id: number): SignalHit | undefined {
    return this.probes.meaningOf(id);
  }

  *take(hit: SignalHit, pieces: readonly HitPiece[], from: number): Generator<SignalEvent | StopEvent> {
    const own = pieces.slice(0, pieces.length - currentPieces);
    const task = readCurrent(pieces.slice(-currentPieces));
    if (!task) return;
    const told = (facts: SignalFacts | undefined): SignalEvent[] =>
      facts ? [{ kind: "signal", task, from, ...facts }] : [];
    switch (hit) {
      case "handled":
        yield* told(signalFacts(own[0]!, this.callName));
        break;
      case "looks":
        this.looks(task, own);
        break;
      case "fetches":
        yield* told(this.goesOn(task));
        break;
      case "stops": {
        const { facts, signal } = this.stops(task, own);
        yield* told(facts);
        if (signal !== undefined) yield { kind: "stop", task, from, signal };
        break;
      }
      case "dies":
        yield* told(this.dies(task, own));
        break;
      case "sent":
        this.sent(task, own);
    }
  }

  /** A task is no more. */
  forget({ address, tgid }: HistoryTask, isLast: boolean): void {
    this.frames.delete(address);
    this.stopped.delete(address);
    if (!isLast) return;
    this.continued.delete(tgid);
    this.doomed.delete(tgid);
  }

  private looks(task: HistoryTask, [argument]: readonly HitPiece[]): void {
    const info = this.names.types.struct("ksignal").member("info").byteOffset;
    const frame = numberOf(argument);
    if (frame !== undefined) this.frames.set(task.address, frame + BigInt(info));
  }

  /** A task that had stopped takes the next signal from its queue. */
  private goesOn(task: HistoryTask): SignalFacts | undefined {
    if (!this.stopped.delete(task.address)) return undefined;
    const one = this.continued.get(task.tgid);
    // Whoever goes on first takes it, unless it is for one thread.
    if (!one || (one.target !== undefined && one.target !== task.address)) return undefined;
    this.continued.delete(task.tgid);
    return one.facts;
  }

  private stopItems(current: Code): ProbeItem[] {
    return [this.member(current, "task_struct", "jobctl", 8), ...frameItems("rdi")];
  }

  /** `do_signal_stop` is called with the signal, or with 0 where another thread got it. */
  private stops(task: HistoryTask, [state, argument, stack]: readonly HitPiece[]) {
    const jobs = numberOf(state) ?? 0n;
    const { number: got, stackPointer } = argumentOf(argument);
    const facts = got === 0 ? undefined : this.inFrame(task, stack, stackPointer);
    // A SIGCONT has come since it was taken from the queue: nothing stops.
    if (got !== 0 && (jobs & job.dequeued) === 0n) return { facts, signal: undefined };
    // Of a task that is traced it is called again, before the stop that the tracer is told of.
    if (this.stopped.has(task.address)) return { facts, signal: undefined };
    this.stopped.add(task.address);
    this.continued.delete(task.tgid);
    return { facts, signal: jobs & job.pending ? Number(jobs & job.signal) : got };
  }

  /** The program's own state, its first thread's, and what waits in both queues. */
  private deathItems(current: Code): ProbeItem[] {
    const leader = this.member(current, "task_struct", "group_leader", 8);
    const leaderCode = this.pointer(current, "task_struct", "group_leader");
    const group = this.pointer(current, "task_struct", "signal");
    return [
      ...frameItems("rdi"),
      this.member(group, "signal_struct", "group_exit_code", 4),
      this.member(current, "task_struct", "blocked", 8),
      leader,
      this.member(leaderCode, "task_struct", "blocked", 8),
      this.member(leaderCode, "task_struct", "flags", 4),
      ...this.queueItems(current, "task_struct", "pending"),
      ...this.queueItems(group, "signal_struct", "shared_pending"),
    ];
  }

  private dies(task: HistoryTask, pieces: readonly HitPiece[]): SignalFacts | undefined {
    const [argument, stack, code, blocked, leader, leaderBlocks, leaderFlags, ...waiting] = pieces;
    const { number, stackPointer } = argumentOf(argument);
    const signal = number & deadly;
    if (signal !== signalNumber.SIGKILL) return this.inFrame(task, stack, stackPointer, signal);
    const group = Number(numberOf(code) ?? 0n) & deadly;
    if (group === 0 || group === signalNumber.SIGKILL) return undefined;
    const own = findSignal(waiting.slice(0, mostWaiting), group, this.callName);
    if (own) return own;
    if (this.doomed.has(task.tgid)) return undefined;
    const blocks = (piece: HitPiece | undefined) =>
      (((numberOf(piece) ?? 0n) >> BigInt(group - 1)) & 1n) !== 0n;
    const isLeader = numberOf(leader) === task.address;
    const leaderWill = !blocks(leaderBlocks) && ((numberOf(leaderFlags) ?? 0n) & exiting) === 0n;
    // As the kernel chooses: the first thread, if it takes the signal.
    if (blocks(blocked) || (leaderWill && !isLeader)) return undefined;
    const shared = findSignal(waiting.slice(mostWaiting), group, this.callName);
    if (shared) this.doomed.add(task.tgid);
    return shared;
  }

  /** SIGCONT is sent to a task that has no handler for it. */
  private sent(sender: HistoryTask, [numbers, info, ...about]: readonly HitPiece[]): void {
    const [kind, target, pointer] = numbers?.bytes.length === 24 ? words(numbers.bytes) : [];
    const receiver = target === undefined ? undefined : readTask(target, about);
    if (!receiver) return;
    const facts = signalFacts(info!) ?? bareFacts(pointer, sender);
    const isForThread = ((kind ?? 0n) & 0xffff_ffffn) === threadOnly;
    this.continued.set(receiver.tgid, { facts, ...(isForThread && { target: receiver.address }) });
  }

  /** The facts of the signal that the task has taken from its queue. */
  private inFrame(
    task: HistoryTask,
    stack: HitPiece | undefined,
    stackPointer: bigint,
    wanted?: number,
  ): SignalFacts | undefined {
    const at = this.frames.get(task.address);
    if (at === undefined || stack?.state !== "whole") return undefined;
    const offset = Number(at - (stackPointer & ~BigInt(stackBytes - 1)));
    if (offset < 0 || offset + siginfoBytes > stackBytes) return undefined;
    const facts = signalFacts({ bytes: stack.bytes.subarray(offset, offset + siginfoBytes) }, this.callName);
    return wanted === undefined || facts?.signal === wanted ? facts : undefined;
  }

  /** The first signals that wait in a queue. */
  private queueItems(owner: Code, type: string, member: string): ProbeItem[] {
    const { types } = this.names;
    const list = types.struct(type).member(member).byteOffset;
    const entry = types.findStruct("sigqueue");
    const info = entry?.findMember("info")?.byteOffset ?? 0;
    const link = entry?.findMember("list")?.byteOffset ?? 0;
    const items: ProbeItem[] = [];
    let next = owner.plus(list).follow();
    for (let i = 0; i < mostWaiting; i++) {
      items.push(memory(next.plus(info - link), siginfoBytes));
      next = next.follow();
    }
    return items;
  }

  private member(owner: Code, type: string, name: string, length: number): ProbeItem {
    return memory(owner.plus(this.names.types.struct(type).member(name).byteOffset), length);
  }

  private pointer(owner: Code, type: string, name: string): Code {
    return owner.plus(this.names.types.struct(type).member(name).byteOffset).follow();
  }

  private expression(text: string) {
    return probeExpression(text, this.names, plainScope);
  }
}

function memory(address: Code, length: number): ProbeItem {
  return { collect: "memory", address: address.bytes, length: constant(length).bytes, most: length };
}

function registers(...names: string[]): ProbeItem {
  return { collect: "some-registers", names };
}

/** A function's first argument, the stack pointer, and the whole stack. */
function frameItems(argument: string): ProbeItem[] {
  const stack = register("rsp").and(~BigInt(stackBytes - 1));
  return [registers(argument, "rsp"), memory(stack, stackBytes)];
}

function words(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >> 3 }, (_, i) => view.getBigUint64(8 * i, true));
}

function argumentOf(piece: HitPiece | undefined): { number: number; stackPointer: bigint } {
  if (piece?.bytes.length !== 16) return { number: 0, stackPointer: 0n };
  const view = new DataView(piece.bytes.buffer, piece.bytes.byteOffset, 16);
  return { number: view.getInt32(0, true), stackPointer: view.getBigUint64(8, true) };
}

function findSignal(
  waiting: readonly HitPiece[],
  wanted: number,
  callName: CallName,
): SignalFacts | undefined {
  for (const piece of waiting) {
    const facts = piece.state === "whole" ? signalFacts(piece, callName) : undefined;
    if (facts?.signal === wanted) return facts;
  }
  return undefined;
}

/** Sent from within the kernel, in its own name or in the current task's. Source: include/linux/signal.h, SEND_SIG_PRIV. */
function bareFacts(pointer: bigint | undefined, sender: HistoryTask): SignalFacts {
  const signal = signalNumber.SIGCONT;
  const name = signalText(BigInt(signal));
  const by = pointer === 1n ? "si_code=SI_KERNEL" : `si_code=SI_USER, si_pid=${sender.tgid}`;
  return { signal, text: `${name} {si_signo=${name}, ${by}}` };
}
