import { during, type RunContext } from "../../base/run-context.js";
import { guestAddress, type Icount } from "../../base/units.js";
import type { ProbeChannel, ProbeItem } from "../../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../../qemu/probe-hits.js";
import type { CountedCheckpoint } from "../../replay/session/checkpoint.js";
import type { HitBatchOptions } from "../../replay/session/hit-batches.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import type { Tape } from "../../tape/tape.js";
import type { HistoryTask } from "../history/task-history.js";
import type { ProbeNames } from "../pass/probe-names.js";
import { passSince } from "../pass/probe-pass.js";
import { compiled } from "../pass/probe-print.js";
import { ProbeSet } from "../pass/probe-set.js";
import { currentItems, currentPieces, numberOf, readCurrent } from "../pass/probe-task.js";
import type { TaskLearner } from "../pass/task-pass.js";
import { type CallEntry, type CallWay, SyscallPlaces } from "./places.js";
import { CallShape } from "./shapes.js";
import type { Syscall, SyscallTable } from "./syscalls.js";
import { type EndHit, TaskEnds } from "./task-ends.js";
import type { SyscallEvent, TaskEvent } from "./task-events.js";
import { TaskSignals } from "./task-signals.js";
import { x32Bit } from "./x32.js";

export interface SyscallPassOptions extends RunContext {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Only of tasks that pass. */
  readonly isWanted?: (task: HistoryTask) => boolean;
  /** Calls begun before this instant are left out. */
  readonly fromIcount?: Icount;
  /** The replay ends here. */
  readonly toIcount?: Icount;
  /** The checkpoints there are now, in order. */
  readonly checkpoints?: () => Promise<readonly CountedCheckpoint[]>;
  /** Learns the tape's tasks in passing; for a pass over all of it. Costs a third more. */
  readonly learner?: TaskLearner;
}

/** What is known of the kernel's calls before anything runs. */
export interface SyscallKernel {
  readonly names: ProbeNames;
  readonly calls: SyscallTable;
  /** "6.1.0-56-amd64" */
  readonly release: string | undefined;
}

/** What a hit is: a call begins or ends, or what was collected for the one that begins or ends at this instant. */
type CallHit =
  | { readonly kind: "entry"; readonly entry: CallEntry }
  | { readonly kind: "exit" }
  | { readonly kind: "vsyscall" }
  | { readonly kind: "shape"; readonly key: string };
type Execute = (hit: CallHit, at: bigint, collect: ProbeItem[], when?: Uint8Array) => Promise<void>;
/** Calls after which another program runs. */
const replacing: ReadonlySet<string> = new Set(["execve", "execveat"]);
/** The pages' calls by their place in it. Source: arch/x86/entry/vsyscall/vsyscall_64.c. */
const vsyscalls = ["gettimeofday", "time", "getcpu"] as const;

/**
 * The system calls of a tape, its tasks' signals and ends, in the order in which they happen; a call when it has its
 * result, and those that never do last. One replay in which the plugin tells each entry and result in passing.
 *
 * @throws VmtapeError `not-found` when the kernel lacks the symbols or types
 */
export async function* syscallEvents(
  tape: Tape,
  kernel: SyscallKernel,
  options: SyscallPassOptions,
): AsyncGenerator<TaskEvent> {
  const { plugin, fromIcount, checkpoints, toIcount, learner } = options;
  const pass = new SyscallPass(kernel, options);
  const prepare: HitBatchOptions["prepare"] = async (probes, channel) => {
    await pass.place(probes);
    await learner?.options.prepare(probes, channel);
  };
  const batches = passSince(tape, {
    ...during(options, "tracing system calls"),
    plugin,
    checkpoints,
    since: fromIcount,
    to: toIcount,
    ...learner?.options,
    prepare,
  });
  for await (const batch of batches) {
    for (let i = 0; i < batch.length; i++) {
      if (learner?.take(batch, i)) continue;
      yield* pass.take(batch, i);
    }
  }
  yield* pass.rest();
}

/** A call that has begun. */
interface OpenCall {
  readonly event: SyscallEvent;
  readonly shape: CallShape;
  readonly pieces: readonly HitPiece[];
  /** Of `restart_syscall`: the call it goes on with. */
  readonly resumes?: string | undefined;
}

/** Calls whose arguments are collected in the same way. */
interface ShapeGroup {
  readonly shape: CallShape;
  readonly numbers: number[];
  readonly entry: CallEntry;
}

/** Sets the probes, and pairs entries and results by where the caller's registers are saved: one place a task. */
class SyscallPass {
  private readonly probes = new ProbeSet<CallHit>();
  private readonly kernel: SyscallKernel;
  private readonly options: SyscallPassOptions;
  private readonly places: SyscallPlaces;
  private readonly groups: readonly ShapeGroup[];
  private readonly shapes = new Map<Syscall, CallShape>();
  private readonly current: readonly ProbeItem[];
  private readonly signals: TaskSignals;
  private readonly ends: TaskEnds;
  /** What a task called last, which `restart_syscall` goes on with. */
  private readonly last = new Map<bigint, string>();
  private readonly open = new Map<bigint, OpenCall>();
  /** What was collected for the call that the next hit is of, by group. */
  private pending: { readonly icount: number; readonly key: string; readonly pieces: readonly HitPiece[] }[] =
    [];

  constructor(kernel: SyscallKernel, options: SyscallPassOptions) {
    this.kernel = kernel;
    this.options = options;
    this.places = new SyscallPlaces(kernel.names, kernel.release, kernel.calls.exits);
    this.current = currentItems(kernel.names) ?? [];
    this.ends = new TaskEnds(kernel.names);
    this.signals = new TaskSignals(
      kernel.names,
      (number, isCompat) => kernel.calls.find(number, isCompat)?.name,
    );
    this.groups = this.places.entries.flatMap((entry) => this.groupsOf(entry));
  }

  /** Of probes at one place the last that was set is told first: what is collected for a call comes before it. */
  async place(channel: ProbeChannel): Promise<void> {
    const { places, kernel } = this;
    const { address } = kernel.names;
    const execute: Execute = (hit, at, collect, when) =>
      this.probes.place(
        channel,
        hit,
        { at: "execute", address: guestAddress(at) },
        { collect, ...(when && { when }) },
      );
    for (const entry of places.entries) {
      await execute({ kind: "entry", entry }, entry.address, [
        registers(entry.pointer),
        places.block(entry.pointer),
        ...this.current,
      ]);
    }
    for (const { address, pointer } of places.exits) {
      await execute({ kind: "exit" }, address, [registers(pointer), places.block(pointer)]);
    }
    for (const [i, group] of this.groups.entries()) await this.placeGroup(execute, i, group);
    await this.ends.place(channel);
    await this.signals.place(channel);
    const vsyscall = address("emulate_vsyscall");
    if (vsyscall !== undefined) {
      await execute({ kind: "vsyscall" }, vsyscall, [registers("rdx"), places.block("rsi"), ...this.current]);
    }
  }

  private async placeGroup(
    execute: Execute,
    i: number,
    { shape, numbers, entry }: ShapeGroup,
  ): Promise<void> {
    const { places } = this;
    const isCompat = entry.isCompat;
    const hit = { kind: "shape", key: shape.key } as const;
    const before = shape.items(places.place(entry.pointer, isCompat, false));
    if (before.length > 0) {
      await execute(hit, entry.address, before, await this.among(numbers, entry.pointer, entry.number));
    }
    // All 32-bit entries end alike.
    if (this.groups.findIndex((group) => group.shape.key === shape.key) !== i) return;
    for (const exit of places.exits) {
      if (exit.isCompat !== undefined && exit.isCompat !== isCompat) continue;
      const after = shape.items(places.place(exit.pointer, isCompat, true));
      if (after.length === 0) return;
      await execute(hit, exit.address, after, await this.among(numbers, exit.pointer, "orig_ax"));
    }
  }

  *take(batch: HitBatch, i: number): Generator<TaskEvent> {
    const id = batch.id(i);
    const icount = Number(batch.icount(i));
    const pieces = batch.pieces(i);
    const signal = this.signals.hitOf(id);
    const end = this.ends.hitOf(id);
    const hit = this.probes.meaningOf(id);
    if (signal) {
      for (const event of this.signals.take(signal, pieces, icount)) if (this.isTold(event)) yield event;
    } else if (end) {
      yield* this.end(end, pieces, icount);
    } else if (hit?.kind === "shape") {
      if (this.pending[0]?.icount !== icount) this.pending = [];
      this.pending.push({ icount, key: hit.key, pieces });
    } else if (hit?.kind === "exit") {
      yield* this.ended(pieces, icount);
    } else if (hit?.kind === "vsyscall") {
      yield* this.vsyscall(pieces, icount);
    } else if (hit?.kind === "entry") {
      this.begun(hit.entry, pieces, icount);
    }
  }

  /** Calls that have not returned. */
  *rest(): Generator<SyscallEvent> {
    const left = [...this.open.values()].sort((a, b) => a.event.from - b.event.from);
    for (const one of left) yield this.finished(one, [], undefined, undefined);
  }

  private begun(entry: CallEntry, [pointer, block, ...task]: readonly HitPiece[], icount: number): void {
    const at = numberOf(pointer);
    const numbers = this.places.read(block, entry.isCompat, entry.number);
    const who = readCurrent(task);
    if (at === undefined || !numbers || !who || !this.isAsked(who, icount)) return;
    const call = this.callOf(numbers.number, entry.isCompat);
    const shape = this.shapeOf(call);
    const event = this.event(who, call.isX32 ? "x32" : entry.way, call, asTaken(call, numbers), icount);
    this.open.set(at, {
      event,
      shape,
      pieces: this.collected(shape, icount),
      resumes: this.resumed(who, call),
    });
  }

  private *ended([pointer, block]: readonly HitPiece[], icount: number): Generator<TaskEvent> {
    const at = numberOf(pointer);
    const open = at === undefined ? undefined : this.open.get(at);
    // A new task's first way to user space ends no call of its own.
    if (at === undefined || !open) return;
    this.open.delete(at);
    const { call, task } = open.event;
    const result = this.places.read(block, call.isCompat ?? false, "orig_ax")?.result;
    if (replacing.has(call.name) && result === 0n) {
      for (const event of this.ends.replaced(task, icount)) if (this.isTold(event)) yield event;
    }
    yield this.finished(open, this.collected(open.shape, icount), icount, result);
  }

  /** A task begins to end, or its end is known. */
  private *end(hit: EndHit, pieces: readonly HitPiece[], icount: number): Generator<TaskEvent> {
    const task = readCurrent(pieces.slice(-currentPieces));
    if (task && hit === "begins") yield* this.left(task);
    for (const event of this.ends.take(hit, pieces, icount)) {
      const { address, pid, tgid } = event.task;
      this.signals.forget(event.task, pid === tgid);
      this.last.delete(address);
      if (this.isTold(event)) yield event;
    }
  }

  /** The call within which a task ends. */
  private *left(task: HistoryTask): Generator<SyscallEvent> {
    for (const [at, open] of this.open) {
      if (open.event.task.address !== task.address) continue;
      this.open.delete(at);
      yield this.finished(open, [], undefined, undefined);
    }
  }

  private *vsyscall(pieces: readonly HitPiece[], icount: number): Generator<SyscallEvent> {
    const task = readCurrent(pieces.slice(-currentPieces));
    if (!task || !this.isAsked(task, icount)) return;
    const name = vsyscalls[Number(((numberOf(pieces[0]) ?? 0n) >> 10n) & 3n)];
    const call = [...this.kernel.calls.values()].find((one) => one.name === name);
    const numbers = this.places.read(pieces[1], false, "orig_ax");
    if (!call || !numbers) return;
    const event = this.event(task, "vsyscall", call, { ...numbers, number: call.number }, icount);
    yield this.finished({ event, shape: this.shapeOf(call), pieces: [] }, [], undefined, undefined);
  }

  /** What `restart_syscall` goes on with. */
  private resumed({ address }: HistoryTask, call: Syscall): string | undefined {
    if (call.name === "restart_syscall") return this.last.get(address) ?? "system call";
    this.last.set(address, call.name);
    return undefined;
  }

  private event(
    task: HistoryTask,
    way: CallWay,
    call: Syscall,
    { number, arguments: values }: { number: number; arguments: readonly bigint[] },
    from: number,
  ): SyscallEvent {
    const empty = { texts: [], to: undefined, result: undefined };
    return { kind: "call", task, way, call, number, arguments: values, from, ...empty };
  }

  private finished(
    { event, shape, pieces, resumes }: OpenCall,
    after: readonly HitPiece[],
    to: number | undefined,
    result: bigint | undefined,
  ): SyscallEvent {
    const texts =
      resumes === undefined
        ? shape.argumentTexts({ arguments: event.arguments, result }, pieces, after)
        : [`<... resuming interrupted ${resumes} ...>`];
    return { ...event, texts, to, result };
  }

  private isTold({ task, from }: TaskEvent): boolean {
    return this.isAsked(task, from);
  }

  private isAsked(task: HistoryTask, icount: number): boolean {
    const { fromIcount, isWanted } = this.options;
    return (fromIcount === undefined || icount >= Number(fromIcount)) && (isWanted?.(task) ?? true);
  }

  /** What was collected at this instant for a call of this shape. */
  private collected(shape: CallShape, icount: number): readonly HitPiece[] {
    return this.pending.find((one) => one.icount === icount && one.key === shape.key)?.pieces ?? [];
  }

  private callOf(number: number, isCompat: boolean): Syscall {
    return this.kernel.calls.find(number, isCompat) ?? unknownCall(number, isCompat);
  }

  private shapeOf(call: Syscall): CallShape {
    let shape = this.shapes.get(call);
    if (!shape) {
      shape = new CallShape(call);
      this.shapes.set(call, shape);
    }
    return shape;
  }

  private groupsOf(entry: CallEntry): ShapeGroup[] {
    const groups = new Map<string, ShapeGroup>();
    const { calls } = this.kernel;
    // Numbers are compared without the bit of x32: what it shares has the same shape.
    const all = entry.isCompat
      ? [...calls.compat.values()]
      : [...calls.values(), ...[...calls.x32.values()].filter((call) => call.hasShortWords)];
    for (const call of all) {
      const shape = this.shapeOf(call);
      if (!shape.collects) continue;
      const group = groups.get(shape.key) ?? { shape, numbers: [], entry };
      group.numbers.push(call.number & ~x32Bit);
      groups.set(shape.key, group);
    }
    return [...groups.values()];
  }

  /** Is the call's number one of these? A bit for each number. */
  private async among(numbers: readonly number[], pointer: string, member: string): Promise<Uint8Array> {
    const number = `(((struct pt_regs *)$${pointer})->${member} & ~0x${x32Bit.toString(16)}ul)`;
    const words = new Map<number, bigint>();
    for (const one of numbers) words.set(one >> 6, (words.get(one >> 6) ?? 0n) | (1n << BigInt(one & 63)));
    const tests = [...words].map(
      ([word, bits]) => `${number} >> 6 == ${word} ? (0x${bits.toString(16)}ul >> (${number} & 63)) & 1 : `,
    );
    const { names } = this.kernel;
    return (await compiled(names, parseExpression(`${tests.join("")}0`, names.types)))!;
  }
}

const unknownCalls = new Map<string, Syscall>();
function unknownCall(number: number, isCompat: boolean): Syscall {
  const key = `${number} ${isCompat}`;
  let call = unknownCalls.get(key);
  if (!call) {
    call = { number, name: `syscall_0x${(number >>> 0).toString(16)}`, parameters: undefined, isCompat };
    unknownCalls.set(key, call);
  }
  return call;
}

/** Of calls with short words the kernel takes no more of an argument. */
function asTaken<Numbers extends { readonly arguments: readonly bigint[] }>(
  call: Syscall,
  numbers: Numbers,
): Numbers {
  if (!call.hasShortWords) return numbers;
  return { ...numbers, arguments: numbers.arguments.map((value) => BigInt.asUintN(32, value)) };
}

function registers(name: string): ProbeItem {
  return { collect: "some-registers", names: [name] };
}
