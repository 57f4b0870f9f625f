import { firstKernelAddress } from "../base/units.js";
import { type BranchBatch, branchKindCodes } from "../formats/branch.js";
import type { BranchRange, BranchReader } from "./branch-reader.js";
import { CallStack, frameTypes } from "./call-stack.js";
import { EdgeCache } from "./edge-cache.js";

/** What the call tree needs to know of names. */
export interface FunctionNames {
  /** The function an address lies in; undefined when none is known. */
  nameOf(
    address: bigint,
  ): { readonly name: string; readonly offset: number; readonly start: bigint } | undefined;
}

export type CallEventType =
  | "call"
  | "return"
  /** A jump to the first address of another function: it returns in place of the one it left. */
  | "tail-call"
  /** A jump into the middle of another function. */
  | "jump"
  /** Into the kernel, or from the kernel into its handler: system call, interrupt, exception. */
  | "enter"
  /** Back from that. */
  | "leave";

/**
 * Why an event's depth or stack is a guess.
 *
 * - `entered-before`: what is returned from was entered before the trace began
 * - `unwound`: several functions were left at once: longjmp, an exception, a return that was not seen
 * - `task`: the machine changed tasks, and which one runs is not known yet
 * - `switched`: the return fits another stack
 * - `new-stack`: the return fits no stack: taken for a task that was not seen before
 * - `elsewhere`: the kernel was left to another place than it was entered from: a signal, exec
 * - `leaves`: a jump out of the function that is no tail call
 */
export type CallGuess =
  | "entered-before"
  | "unwound"
  | "task"
  | "switched"
  | "new-stack"
  | "elsewhere"
  | "leaves";

/** A line of the call tree. Borrowed: it holds until the next one. */
export interface CallEvent {
  type: CallEventType;
  /** Code of the record's kind. */
  kind: number;
  brctr: number;
  /** Levels the line is indented: those that were entered and not left. */
  depth: number;
  from: bigint;
  to: bigint;
  /** Number of the stack (task) it happens on, 1 for the first. */
  stack: number;
  /** Levels left by a return: 1 when nothing is odd. */
  levels: number;
  guess: CallGuess | undefined;
}

export interface CallOptions {
  /** Functions whose return is another task's. Default: Linux's `__switch_to_asm`. */
  readonly switchFunctions?: readonly string[];
  /** The most frames kept of a stack. Default 65536. */
  readonly mostFrames?: number;
  /** The most stacks kept. Default 1024. */
  readonly mostStacks?: number;
}

/** What an edge is, as far as its two addresses and names tell. */
const plain = 0;
const tailCall = 1;
const leavesFunction = 2;
const switchCall = 3;
/** A call a few bytes ahead, to find out an address or to return elsewhere (retpolines): not a call. */
const shortCall = 4;

/** To code that only jumps on to where a register points: the call is one of that place. */
const thunk = 5;

/** Linux's thunks of indirect branches, and those that stand for a return. */
const jumpThunk = /^__x86_indirect_/;
const returnThunk = /^(__x86_return_thunk|(srso|zen|retbleed|its)_\w*(return_thunk|untrain_ret)\w*)$/;

const shortCallBytes = 16n;
/** A call is 2 to 15 bytes long. */
const callLengths = { least: 2n, most: 15n } as const;
/** Stacks that are looked through for one that fits: an odd trace must not cost the square of its length. */
const mostTried = 64;
/** An `iret` to a place so near, which no entry fits, is one that serializes the processor. */
const samePlaceBytes = 64n;

/**
 * Follows calls and returns through a trace: feed it batches in order, and it tells each call, return and entry
 * with its depth. Successor of `bts_trace`; unlike it, it keeps a stack for each task and goes through interrupts,
 * system calls, tail calls and returns over several levels, and says where it had to guess. No recursion; memory is
 * bounded by the options. About 15 M records a second.
 *
 * How tasks are told apart: what a record shows of the stack is only where returns go. The return of
 * `__switch_to_asm` is the next task's. From then on every stack that was left in it may be the one that runs; each
 * return rules out those that expect another place, until one is left.
 */
export class CallTracker {
  private stack: CallStack;
  /** Stacks that do not run, the one that was left last at the end. */
  private readonly suspended: CallStack[] = [];
  /** Stacks that may be the one that runs, while that is open; the running one then holds only what is new. */
  private candidates: CallStack[] | undefined;
  /** Returns since the switch that fitted all candidates. */
  private fitted = 0;
  private baseDepth = 0;
  /** Was the running stack ever guessed? */
  private doubts = false;
  private stacks = 1;
  /** Address of a short call after which no return came. */
  private shortCallSite: bigint | undefined;
  /** The call or jump that led into a thunk it has not left yet. */
  private intoThunk: { readonly from: bigint; readonly type: CallEventType } | undefined;
  private readonly edges: EdgeCache;
  private readonly switchFunctions: ReadonlySet<string>;
  private readonly event: CallEvent = {
    type: "call",
    kind: 0,
    brctr: 0,
    depth: 0,
    from: 0n,
    to: 0n,
    stack: 1,
    levels: 1,
    guess: undefined,
  };

  /** @param emit is given each event, in order */
  constructor(
    private readonly emit: (event: CallEvent) => void,
    private readonly names?: FunctionNames,
    private readonly options: CallOptions = {},
  ) {
    this.stack = this.newStack();
    this.switchFunctions = new Set(options.switchFunctions ?? ["__switch_to_asm"]);
    this.edges = new EdgeCache((from, to) => this.judge(from, to));
  }

  /** Follows the records of a batch, which must come after those of the last one. */
  feed(batch: BranchBatch): void {
    const { kind: kinds, fromWords, toWords, length } = batch;
    for (let i = 0; i < length; i++) {
      const kind = kinds[i]!;
      switch (kind) {
        case branchKindCodes.jump:
        case branchKindCodes.conditional:
        case branchKindCodes["indirect-jump"]: {
          if (!this.names) break;
          const verdict = this.edges.get(fromWords, toWords, i);
          if (verdict !== plain && verdict !== shortCall) {
            this.begin(batch, i);
            this.jump(verdict);
          }
          break;
        }
        case branchKindCodes.call:
        case branchKindCodes["indirect-call"]:
          this.begin(batch, i);
          this.call(this.edges.get(fromWords, toWords, i));
          break;
        case branchKindCodes.return:
          this.begin(batch, i);
          this.return();
          break;
        case branchKindCodes.syscall:
          this.begin(batch, i);
          this.enter(frameTypes.syscall);
          break;
        case branchKindCodes.interrupt:
          this.begin(batch, i);
          this.enter(frameTypes.interrupt);
          break;
        case branchKindCodes.exception:
          this.begin(batch, i);
          this.enter(frameTypes.exception);
          break;
        case branchKindCodes.sysreturn:
        case branchKindCodes.iret:
          this.begin(batch, i);
          this.leave();
          break;
        case branchKindCodes.far:
          this.begin(batch, i);
          this.far();
          break;
        default:
          this.begin(batch, i);
          this.unknown(this.edges.get(fromWords, toWords, i));
      }
    }
  }

  private begin(batch: BranchBatch, index: number): void {
    const { event } = this;
    event.kind = batch.kind[index]!;
    event.brctr = batch.brctrAt(index);
    event.from = batch.from[index]!;
    event.to = batch.to[index]!;
  }

  /** @param less levels the line stands further out than what runs */
  private tell(type: CallEventType, guess?: CallGuess, levels = 1, less = 0): void {
    const { event } = this;
    event.type = type;
    event.levels = levels;
    event.stack = this.stack.id;
    event.depth = this.stack.depth - less;
    event.guess = guess;
    if (this.candidates) {
      event.depth += Math.max(0, this.baseDepth - this.fitted);
      event.guess = guess ?? "task";
    }
    if (this.stack.isDoubtful) event.guess ??= "task";
    this.emit(event);
  }

  private call(verdict: number): void {
    if (verdict === shortCall) {
      this.shortCallSite = this.event.from;
      return;
    }
    if (verdict === thunk) this.intoThunk = { from: this.event.from, type: "call" };
    else this.tell("call");
    const type = verdict === switchCall ? frameTypes.switch : frameTypes.call;
    this.stack.push(type, this.event.from, this.event.to);
  }

  private enter(type: number): void {
    this.tell("enter");
    this.stack.push(type, this.event.from, this.event.to);
  }

  private return(): void {
    const { to } = this.event;
    const { stack, shortCallSite } = this;
    this.shortCallSite = undefined;
    if (stack.endsCall(0, to)) {
      const switches = stack.typeAt(0) === frameTypes.switch;
      stack.pop();
      this.tell("return");
      if (switches) this.suspend();
      return;
    }
    if (shortCallSite !== undefined) {
      const length = to - shortCallSite;
      if (length < callLengths.least || length > callLengths.most) this.become(frameTypes.call);
      return;
    }
    if (stack.typeAt(0) === frameTypes.switch) {
      stack.pop();
      this.suspend();
      this.decide(undefined);
      this.tell("return", "new-stack");
      return;
    }
    const level = stack.findCall(to);
    if (level > 0) {
      this.unwind(level + 1);
      return;
    }
    if (stack.isDiverted) {
      this.tell("return", "elsewhere", 0);
      return;
    }
    if (stack.length > 0) {
      this.oddReturn(to);
      return;
    }
    if (this.candidates) {
      this.fitReturn();
      return;
    }
    if (this.otherFor(to) < 0) {
      this.tell("return", "entered-before", 0);
      return;
    }
    this.oddReturn(to);
  }

  /** A return that the running stack does not expect. */
  private oddReturn(to: bigint): void {
    const target = this.names?.nameOf(to);
    if (target?.offset === 0) {
      this.become(frameTypes.call);
      return;
    }
    const level = target ? this.stack.findFrame((running) => running === target.start) : -1;
    if (level > 0) {
      this.unwind(level);
      return;
    }
    this.guess(this.candidates?.at(-1));
    const other = this.otherFor(to);
    if (other >= 0) {
      this.resume(other);
      this.stack.pop();
      this.tell("return", "switched");
      return;
    }
    this.park(false);
    this.stack = this.newStack();
    this.stack.isDoubtful = this.doubts;
    this.tell("return", "new-stack");
  }

  /** A stack that waits, not for a change of tasks, and expects a return to `to`; -1 for none. */
  private otherFor(to: bigint): number {
    return this.findWaiting((stack) => stack.endsCall(0, to));
  }

  /** The place of the stack last left, not by a change of tasks, that fits; -1 for none among the latest. */
  private findWaiting(fits: (stack: CallStack) => boolean): number {
    const { suspended } = this;
    const oldest = Math.max(0, suspended.length - mostTried);
    for (let place = suspended.length - 1; place >= oldest; place--) {
      const stack = suspended[place]!;
      if (!stack.leftBySwitch && fits(stack)) return place;
    }
    return -1;
  }

  /** Leaves several functions at once. */
  private unwind(levels: number): void {
    this.stack.pop(levels);
    this.tell("return", "unwound", levels);
  }

  /** The running function is replaced by one that starts at `to`. */
  private become(type: number): void {
    const { intoThunk } = this;
    if (intoThunk) this.event.from = intoThunk.from;
    this.intoThunk = undefined;
    this.tell(intoThunk?.type ?? "tail-call", undefined, 0, this.stack.length > 0 ? 1 : 0);
    this.stack.become(this.event.to, type);
  }

  private jump(verdict: number): void {
    if (verdict === tailCall) {
      this.become(frameTypes.call);
      return;
    }
    if (verdict === switchCall) {
      this.become(frameTypes.switch);
      return;
    }
    if (verdict === thunk) {
      this.intoThunk = { from: this.event.from, type: "tail-call" };
      return;
    }
    if (this.event.kind === branchKindCodes["indirect-jump"]) {
      const target = this.names!.nameOf(this.event.to)!;
      const level = this.stack.findFrame((running) => running === target.start);
      if (level > 0) {
        this.unwind(level);
        return;
      }
    }
    this.tell("jump", "leaves", 0);
  }

  private leave(): void {
    const { from, to } = this.event;
    if (this.candidates && this.stack.findEntry(to) < 0) this.decideByEntry(to);
    const level = this.stack.findEntry(to);
    if (level >= 0) {
      this.stack.pop(level + 1);
      this.tell("leave", undefined, level + 1);
      return;
    }
    const distance = to > from ? to - from : from - to;
    if (distance <= samePlaceBytes) return;
    const other = this.findWaiting((stack) => stack.findEntry(to) >= 0);
    if (other >= 0) {
      this.resume(other);
      const levels = this.stack.findEntry(to) + 1;
      this.stack.pop(levels);
      this.tell("leave", "switched", levels);
      return;
    }
    const isKernel = to >= firstKernelAddress;
    const entered = this.stack.findFrame(
      (_, type, site) => type > frameTypes.switch && site >= firstKernelAddress === isKernel,
    );
    if (entered >= 0) {
      // Within the kernel it is a fault that was mended elsewhere: over. To user space it is a signal or exec.
      this.stack.pop(isKernel ? entered + 1 : entered);
      if (!isKernel) this.stack.divert();
      this.tell("leave", "elsewhere", entered + 1);
      return;
    }
    const levels = this.stack.length;
    this.stack.clear();
    this.tell("leave", "entered-before", levels);
  }

  private far(): void {
    const level = this.stack.findCall(this.event.to);
    if (level < 0) {
      this.tell("jump", "leaves", 0);
      return;
    }
    this.stack.pop(level + 1);
    this.tell("return", level > 0 ? "unwound" : undefined, level + 1);
  }

  /** A record whose file does not tell its kind: told by where it goes, as the original did. */
  private unknown(verdict: number): void {
    const level = this.stack.findCall(this.event.to);
    if (level >= 0) {
      this.stack.pop(level + 1);
      this.tell("return", level > 0 ? "unwound" : undefined, level + 1);
      return;
    }
    if (verdict === tailCall || verdict === switchCall) {
      this.call(plain);
      return;
    }
    if (verdict === leavesFunction) this.tell("jump", "leaves", 0);
  }

  /** The machine changes tasks: the running stack waits, and any that waits may be the one that runs now. */
  private suspend(): void {
    this.guess(this.candidates?.at(-1));
    const waiting = this.suspended.filter((stack) => stack.leftBySwitch);
    this.park(true);
    this.baseDepth = this.stack.depth;
    this.candidates = waiting;
    this.fitted = 0;
    this.stack = new CallStack(0, this.options.mostFrames);
  }

  /** A return beyond what happened since the switch: keeps the candidates that expect it. */
  private fitReturn(): void {
    const { to } = this.event;
    const fitting = this.candidates!.filter((stack) => stack.endsCall(this.fitted, to));
    if (fitting.length === 1) {
      this.fitted++;
      this.decide(fitting[0]);
      this.tell("return", "switched");
      return;
    }
    if (fitting.length === 0) {
      this.decide(undefined);
      this.tell("return", "new-stack");
      return;
    }
    this.candidates = fitting;
    this.fitted++;
    this.tell("return");
  }

  private decideByEntry(to: bigint): void {
    const fitting = this.candidates!.filter((stack) => stack.findEntry(to) >= 0);
    if (fitting.length === 1) this.decide(fitting[0]);
    else this.guess(fitting.at(-1));
  }

  /** Settles which stack runs without knowing it: any of the candidates may from now on be wrong. */
  private guess(chosen: CallStack | undefined): void {
    for (const stack of this.candidates ?? []) {
      stack.isDoubtful = true;
      this.doubts = true;
    }
    this.decide(chosen);
  }

  /**
   * Settles which stack runs: a candidate, less the returns that fitted, or none of them. What was entered since
   * the switch stays on top.
   */
  private decide(chosen: CallStack | undefined): void {
    if (!this.candidates) return;
    this.candidates = undefined;
    if (!chosen) {
      this.stack.id = this.stacks++;
      // It may also be one that was seen, and was wrongly taken for another.
      this.stack.isDoubtful = this.doubts;
      return;
    }
    chosen.pop(this.fitted);
    chosen.leftBySwitch = false;
    chosen.isDoubtful ||= this.stack.isDoubtful;
    this.fitted = 0;
    const recent = this.stack;
    for (let level = recent.length - 1; level >= 0; level--) {
      chosen.push(recent.typeAt(level)!, recent.siteAt(level)!, recent.functionAt(level)!);
    }
    const place = this.suspended.indexOf(chosen);
    if (place >= 0) this.suspended.splice(place, 1);
    this.stack = chosen;
  }

  private resume(index: number): void {
    const [stack] = this.suspended.splice(index, 1);
    this.park(false);
    this.stack = stack!;
  }

  /** Puts the running stack among those that wait, and forgets the oldest of too many. */
  private park(bySwitch: boolean): void {
    this.stack.leftBySwitch = bySwitch;
    this.suspended.push(this.stack);
    if (this.suspended.length > (this.options.mostStacks ?? 1024)) this.suspended.shift();
  }

  private newStack(): CallStack {
    return new CallStack(this.stacks++, this.options.mostFrames);
  }

  private judge(from: bigint, to: bigint): number {
    const distance = to - from;
    if (distance > 0n && distance <= shortCallBytes && !this.isStart(to)) return shortCall;
    const target = this.names?.nameOf(to);
    const source = this.names?.nameOf(from);
    if (source && jumpThunk.test(source.name) && source.start !== target?.start) return tailCall;
    if (!target || returnThunk.test(target.name)) return plain;
    if (target.offset === 0 && this.switchFunctions.has(target.name)) return switchCall;
    if (source?.start === target.start) return plain;
    if (jumpThunk.test(target.name)) return thunk;
    if (source && baseName(source.name) === baseName(target.name)) return plain;
    return target.offset === 0 ? tailCall : leavesFunction;
  }

  private isStart(address: bigint): boolean {
    return this.names?.nameOf(address)?.offset === 0;
  }
}

/** A function's name without the suffix of a part that the compiler moved out of line. */
function baseName(name: string): string {
  return name.replace(/\.(cold|part|isra|constprop)(\.\d+)*$/, "");
}

export interface CallEventsOptions extends CallOptions {
  readonly names?: FunctionNames | undefined;
  /** Which records; default: all. */
  readonly range?: BranchRange | undefined;
}

/**
 * Calls, returns and entries of a branch log, one after another, each an object of its own.
 *
 * ```ts
 * await using reader = await openBranches("boot.branches");
 * for await (const { type, depth, to } of callEvents(reader)) console.log(" ".repeat(depth), type, to);
 * ```
 */
export async function* callEvents(
  reader: Pick<BranchReader, "batches">,
  { names, range, ...options }: CallEventsOptions = {},
): AsyncGenerator<CallEvent> {
  let pending: CallEvent[] = [];
  const tracker = new CallTracker((event) => pending.push({ ...event }), names, options);
  for await (const batch of reader.batches(range)) {
    tracker.feed(batch);
    yield* pending;
    pending = [];
  }
}
