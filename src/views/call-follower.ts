import { branchKindCodes } from "../formats/branch.js";
import { CallTree, noFunction } from "./call-tree.js";
import { type FunctionLookup, FunctionTable } from "./functions.js";
import { frameTypes, TaskStack } from "./task-stack.js";
import { signedOf, type TransferRun, type TransferSymbols } from "./transfers.js";

/** What is done at a record, as far as its fields tell; 0: not looked up yet. */
const actions = {
  plain: 1,
  /** To the first instruction of the function it is in. */
  again: 2,
  jump: 3,
  tailCall: 4,
  call: 5,
  /** A call a few bytes ahead, to find out an address or to return elsewhere (retpolines): not a call. */
  shortCall: 6,
  return: 7,
  syscall: 8,
  interrupt: 9,
  exception: 10,
  leave: 11,
  other: 12,
} as const;

const { call, jump, conditional, interrupt, exception, syscall, sysreturn, iret } = branchKindCodes;
const indirectJump = branchKindCodes["indirect-jump"];
const indirectCall = branchKindCodes["indirect-call"];
const returnKind = branchKindCodes.return;

const shortCallBytes = 16;
/** A call is 2 to 15 bytes long. */
const leastCall = 2;
const mostCall = 15;
/** An `iret` to a place so near, which no entry fits, is one that serializes the processor. */
const samePlaceBytes = 64;

/** Is told when frames begin and end, for who keeps them in time order. */
export interface FrameListener {
  /** A frame for `node` begins; gives the number that `end` is called with. */
  begin(node: number, depth: number, icount: number, stack: number): number;
  end(row: number, icount: number): void;
}

/**
 * Follows all records of a stretch and adds every instruction to the call path it was executed on: exactly, for each
 * record tells how many were executed since the one before. Where the path is not known (what was entered before the
 * stretch began, a return that fits nothing) the function is still the one whose code ran: each record is checked
 * against it.
 *
 * The stack of each task is its own: the caller says who runs ({@link run}), so nothing is guessed from returns.
 * Interrupts have a tree of their own, so that what they take is not charged to whom they interrupt.
 */
export class CallFollower {
  readonly tree: CallTree;
  readonly functions = new FunctionTable();
  /** By function: how often its first instruction was executed. */
  entries = new Float64Array(1 << 10);
  /** Returns and jumps out of the kernel that fitted no frame: what they left was taken as left. */
  guesses = 0;
  /** Instructions executed up to here. */
  icount = 0;
  private readonly stacks = new Map<string, TaskStack>();
  private readonly roots = new Map<number, { readonly own: number; readonly apart: number }>();
  private readonly stackNumbers = new Map<TaskStack, number>();
  private stack: TaskStack;
  private task = 0;
  private apartRoot = 0;
  private space = 0;
  private names: FunctionLookup | undefined;
  /** Of the running function. */
  private running: number = noFunction;
  private shortCallSite = Number.NaN;
  /** By symbol of the chunk at hand. */
  private action = new Uint8Array(1 << 12);
  private fromFn = new Int32Array(1 << 12);
  private toFn = new Int32Array(1 << 12);
  /** Symbols whose meaning depends on the space, while it lasts. */
  private userSymbols: number[] = [];
  private known = 0;

  constructor(
    options: { readonly mostNodes?: number; readonly listener?: FrameListener } = {},
    private readonly listener = options.listener,
  ) {
    this.tree = new CallTree(options.mostNodes);
    this.stack = new TaskStack(0);
    this.run(0, "", 0, undefined);
  }

  /**
   * Says who runs from the next record on.
   *
   * @param task a number: each has trees of its own
   * @param stack names the stack; a task that changes its name keeps it
   * @param space a number of the address space: user addresses mean the same while it is the same; 0 where there is none
   */
  run(task: number, stack: string, space: number, names: FunctionLookup | undefined): void {
    let roots = this.roots.get(task);
    if (!roots) {
      roots = { own: this.tree.root(task, false), apart: this.tree.root(task, true) };
      this.roots.set(task, roots);
    }
    this.apartRoot = roots.apart;
    let next = this.stacks.get(stack);
    if (!next) {
      next = new TaskStack(roots.own);
      this.stackNumbers.set(next, this.stacks.size);
      this.stacks.set(stack, next);
    }
    this.task = task;
    this.stack = next;
    this.reroot(next, roots);
    this.running = this.tree.fn[next.nodes[next.top]!]!;
    this.shortCallSite = Number.NaN;
    this.names = names;
    if (space === this.space) return;
    this.space = space;
    for (const symbol of this.userSymbols) this.action[symbol] = 0;
    this.userSymbols = [];
  }

  /** The symbols that follow are those of another chunk. */
  startChunk(): void {
    this.action.fill(0, 0, this.known);
    this.known = 0;
    this.userSymbols = [];
  }

  /** Goes to an instant without charging what was executed on the way to anybody. */
  skipTo(icount: number): void {
    this.icount = icount;
  }

  /** Charges what was executed behind the last record, up to an instant, to what runs. */
  chargeTo(icount: number): void {
    this.tree.self[this.top()]! += icount - this.icount;
    this.icount = icount;
  }

  /** Ends at an instant: all frames that are open end there. */
  finish(icount: number): void {
    this.chargeTo(icount);
    if (!this.listener) return;
    for (const stack of this.stacks.values()) {
      for (let level = stack.top; level >= 0; level--) this.end(stack, level);
    }
  }

  /** Follows a run. This is the hot loop. */
  feed({ symbols, walk, start, end }: TransferRun): void {
    if (symbols.count > this.action.length) this.grow(symbols.count);
    this.known = Math.max(this.known, symbols.count);
    const { tree, action, fromFn } = this;
    const { icountStep } = symbols;
    let node = this.stack.nodes[this.stack.top]!;
    let running = this.running;
    let steps = 0;
    let records = 0;
    for (let i = start; i < end; i++) {
      const symbol = walk[i]!;
      let what = action[symbol]!;
      if (what === 0) what = this.resolve(symbols, symbol);
      if (fromFn[symbol] === running) {
        steps += icountStep[symbol]!;
        records++;
        if (what === actions.plain) continue;
      } else {
        // Code ran on into another function: what comes is charged to that.
        tree.self[node]! += steps;
        tree.branches[node]! += records;
        this.icount += steps;
        this.correct(fromFn[symbol]!);
        node = this.stack.nodes[this.stack.top]!;
        running = this.running;
        steps = icountStep[symbol]!;
        records = 1;
        if (what === actions.plain) continue;
      }
      tree.self[node]! += steps;
      tree.branches[node]! += records;
      this.icount += steps;
      steps = 0;
      records = 0;
      this.act(what, symbols, symbol);
      node = this.stack.nodes[this.stack.top]!;
      running = this.running;
    }
    tree.self[node]! += steps;
    tree.branches[node]! += records;
    this.icount += steps;
  }

  private act(what: number, { addresses }: TransferSymbols, symbol: number): void {
    const to = this.toFn[symbol]! >> 1;
    if (this.toFn[symbol]! & 1) this.entries[to]!++;
    const at = 4 * symbol;
    switch (what) {
      case actions.again:
        return;
      case actions.jump:
        this.become(to, false);
        return;
      case actions.tailCall:
        this.become(to, true);
        return;
      case actions.shortCall:
        this.shortCallSite = signedOf(addresses[at]!, addresses[at + 1]!);
        return;
      case actions.return:
      case actions.other:
        this.return(signedOf(addresses[at + 2]!, addresses[at + 3]!), symbol, what === actions.other);
        break;
      case actions.leave:
        this.leave(
          signedOf(addresses[at]!, addresses[at + 1]!),
          signedOf(addresses[at + 2]!, addresses[at + 3]!),
          to,
        );
        break;
      case actions.interrupt:
        if (this.fromStart(symbol)) this.entries[this.fromFn[symbol]!]!--; // it has not been executed
        this.enter(frameTypes.interrupt, signedOf(addresses[at]!, addresses[at + 1]!), this.apartRoot, to);
        return;
      case actions.exception:
        this.enter(frameTypes.exception, signedOf(addresses[at]!, addresses[at + 1]!), this.top(), to);
        return;
      case actions.syscall:
        this.enter(frameTypes.syscall, signedOf(addresses[at]!, addresses[at + 1]!), this.top(), to);
        return;
      default:
        this.enter(frameTypes.call, signedOf(addresses[at]!, addresses[at + 1]!), this.top(), to);
        return;
    }
    if (this.running !== to) this.become(to, false);
  }

  private top(): number {
    return this.stack.nodes[this.stack.top]!;
  }

  private enter(type: number, site: number, parent: number, fn: number): void {
    const { stack, tree } = this;
    // Code without names calls itself only in name: one node for all of it.
    const isSame = tree.fn[parent] === fn && type === frameTypes.call && this.isNameless(fn);
    const node = isSame ? parent : tree.child(parent, fn);
    tree.calls[node]!++;
    stack.push(type, site, node);
    this.running = fn;
    this.begin(node);
  }

  private isNameless(fn: number): boolean {
    return this.functions.starts[fn] === undefined;
  }

  /** The running function is replaced by another, which returns in its place. */
  private become(fn: number, isCall: boolean): void {
    const { stack, tree } = this;
    this.shortCallSite = Number.NaN;
    const before = this.top();
    const isRoot = tree.fn[before] === noFunction;
    let node = tree.child(isRoot ? before : tree.parent[before]!, fn);
    if (tree.fn[node] !== fn && !isRoot) node = before; // the tree is full
    if (isCall) tree.calls[node]!++;
    if (node !== before) {
      this.end(stack, stack.top);
      stack.nodes[stack.top] = node;
      this.begin(node);
    }
    this.running = fn;
  }

  /** Before a record: the code that ran is not of the function on top. */
  private correct(fn: number): void {
    // Code of one function ran on into the first instruction of the next, unless nothing was known of it.
    if (this.running !== noFunction && !this.isNameless(fn)) this.entries[fn]!++;
    this.become(fn, false);
  }

  private return(to: number, symbol: number, isOther: boolean): void {
    const { stack } = this;
    const short = to - this.shortCallSite;
    const top = stack.top;
    if (stack.types[top] === frameTypes.call && fits(to - stack.sites[top]!)) {
      this.cut(stack, top);
      this.shortCallSite = Number.NaN;
      this.resume();
      return;
    }
    this.shortCallSite = Number.NaN;
    if (short >= leastCall && short <= mostCall) return;
    const level = this.findCall(to);
    if (level > 0) {
      this.cut(stack, level);
      this.resume();
      return;
    }
    // A retpoline, or what was entered before all this began.
    const fn = this.toFn[symbol]!;
    if (!(fn & 1) && !isOther) this.guesses++;
    this.become(fn >> 1, (fn & 1) === 1);
  }

  /** The frame, down to the last entry of the kernel, whose return this is; 0 for none. */
  private findCall(to: number): number {
    const { types, sites, top } = this.stack;
    let found = 0;
    let least = mostCall + 1;
    for (let level = top; level > 0; level--) {
      const type = types[level]!;
      if (type !== frameTypes.call && type !== frameTypes.signal) break;
      const distance = to - sites[level]!;
      // Calls may follow each other: the nearest is meant.
      if (distance < leastCall || distance >= least) continue;
      found = level;
      least = distance;
    }
    return found;
  }

  private leave(from: number, to: number, fn: number): void {
    const { stack } = this;
    const { types, sites } = stack;
    let outermost = 0;
    for (let level = stack.top; level > 0; level--) {
      const type = types[level]!;
      if (type === frameTypes.base || type === frameTypes.call) continue;
      const distance = to - sites[level]!;
      const isThere = type === frameTypes.interrupt ? distance === 0 : distance >= 0 && distance <= mostCall;
      if (isThere) {
        this.cut(stack, level);
        this.resume();
        return;
      }
      if (type !== frameTypes.signal && sites[level]! < 0 === to < 0) {
        outermost = level;
        break;
      }
    }
    if (outermost > 0) {
      // Within the kernel it is a fault that was mended elsewhere. To user space it is a signal or exec.
      const site = sites[outermost]!;
      this.cut(stack, outermost);
      this.resume();
      if (to >= 0) this.enter(frameTypes.signal, site, this.top(), fn);
      else if (this.running !== fn) this.unwindTo(fn);
      return;
    }
    if (Math.abs(to - from) <= samePlaceBytes) return;
    this.guesses++;
    this.cut(stack, 1);
    this.resume();
    if (this.running !== fn) this.become(fn, false);
  }

  /** A handler of faults goes on in a function further out. */
  private unwindTo(fn: number): void {
    const { stack, tree } = this;
    for (let level = stack.top; level > 0 && stack.types[level] === frameTypes.call; level--) {
      if (tree.fn[stack.nodes[level - 1]!] !== fn) continue;
      this.cut(stack, level);
      this.resume();
      return;
    }
    this.become(fn, false);
  }

  private resume(): void {
    this.running = this.tree.fn[this.top()]!;
  }

  private begin(node: number): void {
    const { listener, stack } = this;
    if (!listener) return;
    stack.rows[stack.top] = listener.begin(node, stack.top, this.icount, this.stackNumbers.get(stack)!);
  }

  private end(stack: TaskStack, level: number): void {
    const row = stack.rows[level]!;
    if (row < 0) return;
    this.listener?.end(row, this.icount);
    stack.rows[level] = -1;
  }

  private cut(stack: TaskStack, length: number): void {
    if (this.listener) for (let level = stack.top; level >= length; level--) this.end(stack, level);
    stack.cutTo(length);
  }

  /** Puts the frames of a task that has another name now into its trees. */
  private reroot(stack: TaskStack, roots: { readonly own: number; readonly apart: number }): void {
    const { tree } = this;
    if (tree.task[stack.nodes[0]!] === this.task) return;
    let before = -1;
    let old = -1;
    for (let level = 0; level < stack.length; level++) {
      const node = stack.nodes[level]!;
      const fn = tree.fn[node]!;
      const outside = tree.apart[node] ? roots.apart : roots.own;
      const isInside = level > 0 && tree.parent[node] === old;
      const parent = isInside ? before : outside;
      before = fn === noFunction ? outside : level > 0 && node === old ? before : tree.child(parent, fn);
      old = node;
      stack.nodes[level] = before;
    }
  }

  private fromStart(symbol: number): boolean {
    return this.startOf[symbol] === 1;
  }

  /** By symbol: is `from` the first instruction of a function? */
  private startOf = new Uint8Array(1 << 12);

  private resolve(symbols: TransferSymbols, symbol: number): number {
    const { addresses } = symbols;
    const at = 4 * symbol;
    const kind = symbols.kind[symbol]!;
    const { functions, space, names } = this;
    const from = functions.find(addresses[at]!, addresses[at + 1]!, space, names);
    const to = functions.find(addresses[at + 2]!, addresses[at + 3]!, space, names);
    if (functions.length > this.entries.length) {
      const entries = new Float64Array(2 * functions.length);
      entries.set(this.entries);
      this.entries = entries;
    }
    this.fromFn[symbol] = from >> 1;
    this.startOf[symbol] = from & 1;
    this.toFn[symbol] = to;
    const what = this.judge(kind, from >> 1, to, addresses, at);
    this.action[symbol] = what;
    if (!(addresses[at + 1]! >>> 31 && addresses[at + 3]! >>> 31)) this.userSymbols.push(symbol);
    return what;
  }

  private judge(kind: number, from: number, to: number, addresses: Uint32Array, at: number): number {
    switch (kind) {
      case jump:
      case conditional:
      case indirectJump:
        if (from === to >> 1) return to & 1 ? actions.again : actions.plain;
        return to & 1 ? actions.tailCall : actions.jump;
      case call:
      case indirectCall: {
        const ahead = addresses[at + 2]! - addresses[at]!;
        const isNear = addresses[at + 1] === addresses[at + 3] && ahead > 0 && ahead <= shortCallBytes;
        return isNear && !(to & 1) ? actions.shortCall : actions.call;
      }
      case returnKind:
        return actions.return;
      case syscall:
        return actions.syscall;
      case interrupt:
        return actions.interrupt;
      case exception:
        return actions.exception;
      case sysreturn:
      case iret:
        return actions.leave;
      default:
        return actions.other;
    }
  }

  private grow(count: number): void {
    const size = 2 * count;
    const action = new Uint8Array(size);
    action.set(this.action);
    this.action = action;
    const startOf = new Uint8Array(size);
    startOf.set(this.startOf);
    this.startOf = startOf;
    const fromFn = new Int32Array(size);
    fromFn.set(this.fromFn);
    this.fromFn = fromFn;
    const toFn = new Int32Array(size);
    toFn.set(this.toFn);
    this.toFn = toFn;
  }
}

function fits(distance: number): boolean {
  return distance >= leastCall && distance <= mostCall;
}
