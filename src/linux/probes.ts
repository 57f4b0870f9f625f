import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { guestAddress } from "../base/units.js";
import type { ProbeChannel, ProbeItem } from "../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../qemu/probe-hits.js";
import { registerValue } from "../qemu/x86-registers.js";
import type { Expression } from "../symbols/expression-syntax.js";
import type { Tape } from "../tape/tape.js";
import { constant, register } from "./collect-code.js";
import { OpenCalls } from "./probe-calls.js";
import { checkExpression } from "./probe-check.js";
import { type HitParts, type HitVisitor, ProbeHitEvent, type ProbeValue } from "./probe-hit.js";
import { type ProbeNames, type ProbeScope, probeExpression } from "./probe-names.js";
import { type PassOptions, passSince } from "./probe-pass.js";
import { type ProbeAddress, probePlaces } from "./probe-places.js";
import { compiled, mostItems, PrintPlan } from "./probe-print.js";
import { parseSyscallPlace, syscallAddresses } from "./probe-syscalls.js";
import { currentItems, currentPieces, numberOf, readCurrent } from "./probe-task.js";
import type { SyscallKernel } from "./syscall-pass.js";
import type { HistoryTask, TaskHistory } from "./task-history.js";

/** What a probe is. */
export interface ProbeSpec {
  /** A symbol, pattern, FILE:LINE, address, `sys_enter:NAME`, `sys_exit:NAME`, or event; see `probePlaces`. */
  readonly where: string;
  /** Only where this expression is not zero; asked by the plugin, without a stop. */
  readonly when?: string | undefined;
  /** Expressions whose values a hit has. Default: the function's parameters. */
  readonly print?: readonly string[] | undefined;
  /** Those that a return has, `$retval` among them, which is also the default. */
  readonly printOnReturn?: readonly string[] | undefined;
  /** Tell the returns of the function, or the system call's result, too. */
  readonly returns?: boolean | undefined;
}

export type ProbeHandler = (hit: ProbeHitEvent) => void | Promise<void>;

/** What is called at a probe: one function for hits and returns, or one for each. */
export type ProbeHandlers =
  | ProbeHandler
  | { readonly pre?: ProbeHandler | undefined; readonly return?: ProbeHandler | undefined };

/** A probe that was set. What is changed holds at once, in a handler too. */
export interface Probe {
  readonly spec: ProbeSpec;
  readonly enabled: boolean;
  enable(): void;
  /** Hits are passed over until {@link enable}. */
  disable(): void;
  /** For good. */
  remove(): void;
}

export interface ProbeRunOptions extends Omit<PassOptions, "prepare" | "arrived"> {
  readonly signal?: AbortSignal;
  /** Looks up what hits are asked for and have not collected. */
  readonly visitor?: HitVisitor;
}

type Plans = readonly (readonly [text: string, plan: PrintPlan])[];

/** One address of a probe, ready to be watched. */
interface Watch {
  readonly probe: SetProbe;
  readonly place: ProbeAddress;
  readonly when: Uint8Array | undefined;
  readonly plans: Plans;
  /** `stack`: a function, whose returns are found by its return address. `place`: one whose end is a place of its own. */
  readonly returns: "none" | "stack" | "place";
  readonly returnPlans: Plans;
  /** Its end's place. */
  readonly end: ProbeAddress | undefined;
}

class SetProbe implements Probe {
  enabled = true;
  removed = false;

  constructor(
    readonly spec: ProbeSpec,
    readonly handlers: ProbeHandlers | undefined,
  ) {}

  enable(): void {
    this.enabled = true;
  }

  disable(): void {
    this.enabled = false;
  }

  remove(): void {
    this.enabled = false;
    this.removed = true;
  }

  get isLive(): boolean {
    return this.enabled && !this.removed;
  }

  handle(hit: ProbeHitEvent): void | Promise<void> {
    const { handlers } = this;
    if (typeof handlers === "function") return handlers(hit);
    return hit.kind === "return" ? handlers?.return?.(hit) : handlers?.pre?.(hit);
  }
}

const maxProbes = 4096;
/** Ids of the places where calls begin and end come behind all others: those of system calls, then return addresses. */
const firstBeginId = 1 << 19;
const firstEndId = 1 << 20;
const firstReturnId = 1 << 21;

/**
 * Probes on a tape: any number of them, all told in one pass, in passing. Successor of the original's probes. A
 * `GuestTimeline` has them with everything they need.
 *
 * ```ts
 * const probes = new Probes(tape, probeNamesOf(await TapeSymbols.load(tape, …), loadLinuxKernel(tape.layout.kernel)));
 * await probes.add({ where: "do_filp_open", print: ["pathname->name"] }, (hit) => { … });
 * for await (const hit of probes.run({ plugin })) { … }
 * ```
 */
export class Probes {
  private readonly tape: Tape;
  private readonly names: ProbeNames;
  private readonly history: TaskHistory | undefined;
  private readonly calls: (() => SyscallKernel) | undefined;
  private watches: Watch[] = [];
  /** Calls of the last run that were left without a return, or still ran at its end. */
  unreturned = 0;

  /**
   * @param history who ran when; without it each hit collects who runs
   * @param calls the kernel's system calls, for `sys_enter` and `sys_exit`; asked for when there is such a probe
   */
  constructor(tape: Tape, names: ProbeNames, history?: TaskHistory, calls?: () => SyscallKernel) {
    this.tape = tape;
    this.names = names;
    this.history = history;
    this.calls = calls;
  }

  /**
   * Sets a probe for the next run.
   *
   * @throws VmtapeError `not-found` with the nearest names, `usage` for an expression that is none, or a condition that
   *   cannot be asked in passing
   */
  async add(spec: ProbeSpec, handlers?: ProbeHandlers): Promise<Probe> {
    const isReturning = spec.returns || (typeof handlers === "object" && handlers.return !== undefined);
    const probe = new SetProbe(spec, handlers);
    const { watches, failure } = await this.watchesOf(probe, isReturning);
    if (watches.length === 0 && failure) throw failure;
    if (this.watches.length + watches.length > maxProbes) {
      throw new VmtapeError("limit-exceeded", `more than ${maxProbes} places are probed`, {
        limit: maxProbes,
      });
    }
    this.watches = [...this.watches.filter((one) => !one.probe.removed), ...watches];
    return probe;
  }

  /**
   * Replays, and gives each hit in order, after its handler was called. It goes on only while it is read.
   *
   * With `returns` of functions the stretch is replayed twice: the first time tells where they return to.
   */
  async *run(options: ProbeRunOptions): AsyncGenerator<ProbeHitEvent> {
    const { signal, visitor, ...pass } = options;
    this.watches = this.watches.filter((one) => !one.probe.removed);
    const returnsTo = this.watches.some(({ returns }) => returns === "stack")
      ? await this.returnAddresses(pass, signal)
      : [];
    const run = new ProbeRun(this.watches, this.names, this.history, visitor);
    const prepare = (channel: ProbeChannel) => run.place(channel, returnsTo);
    for await (const batch of passSince(this.tape, { ...pass, prepare }, signal)) {
      for (let i = 0; i < batch.length; i++) {
        for (const hit of await run.take(batch, i)) {
          const handled = (hit.probe as SetProbe).handle(hit);
          if (handled) await handled;
          yield hit;
        }
      }
    }
    this.unreturned = run.unreturned;
  }

  /** Of a pattern's places those stay where the expressions mean something. */
  private async watchesOf(probe: SetProbe, isReturning: boolean) {
    const watches: Watch[] = [];
    let failure: VmtapeError | undefined;
    const places = this.placesOf(probe.spec);
    for (const place of places) {
      try {
        watches.push(await this.watch(probe, place, isReturning));
      } catch (error) {
        if (places.length === 1 || !isVmtapeError(error)) throw error;
        failure ??= error;
      }
    }
    return { watches, failure };
  }

  private placesOf({ where }: ProbeSpec): ProbeAddress[] {
    if (!parseSyscallPlace(where)) return probePlaces(where, this.names);
    if (!this.calls) throw new VmtapeError("usage", "system calls are not known here", { got: where });
    const { calls, release } = this.calls();
    return syscallAddresses(where, this.names, calls, release);
  }

  private async watch(probe: SetProbe, place: ProbeAddress, isAsked: boolean): Promise<Watch> {
    const { spec } = probe;
    // Where a system call has its result it returns already.
    const isReturning = isAsked && place.returns !== undefined;
    if (isReturning) this.requireReturns(place, spec.where);
    const wanted = spec.print ?? place.scope.shown.slice(0, 6);
    const returnScope = place.end?.scope ?? place.returns;
    const returned = spec.printOnReturn ?? place.returns?.shown ?? [];
    return {
      probe,
      place,
      when: await this.condition(spec.when, place),
      plans: await this.plans(wanted, place.scope, place),
      returns: !isReturning ? "none" : place.end ? "place" : "stack",
      returnPlans: isReturning && returnScope ? await this.plans(returned, returnScope, place) : [],
      end: isReturning ? place.end : undefined,
    };
  }

  /** @throws VmtapeError `usage` in the middle of a function, where the stack says nothing of its return */
  private requireReturns({ address, end }: ProbeAddress, where: string): void {
    const located = this.names.symbols.lookup(address);
    if (end || !located || located.offset === 0) return;
    const what = `it is ${located.name}+${located.offset}, where the stack says nothing of a return`;
    throw new VmtapeError("usage", `returns of '${where}' cannot be told: ${what}`, { got: where });
  }

  /** All addresses to which the functions return that are probed with their returns. */
  private async returnAddresses(
    options: Omit<ProbeRunOptions, "signal">,
    signal: AbortSignal | undefined,
  ): Promise<bigint[]> {
    const found = new Set<bigint>();
    const watches = this.watches.filter(({ returns }) => returns === "stack");
    const prepare = async (channel: ProbeChannel) => {
      for (const [id, { place, when }] of watches.entries()) {
        const at = { at: "execute", address: guestAddress(place.address) } as const;
        await channel.place(id, at, { collect: [returnAddress], ...(when && { when }) });
      }
    };
    for await (const batch of passSince(this.tape, { ...options, follow: false, prepare }, signal)) {
      for (let i = 0; i < batch.length; i++) {
        const address = numberOf(batch.pieces(i)[0]);
        if (address !== undefined) found.add(address);
      }
    }
    return [...found];
  }

  private async condition(text: string | undefined, place: ProbeAddress): Promise<Uint8Array | undefined> {
    const { narrow } = place;
    if (text === undefined) return narrow && (await compiled(this.names, narrow));
    const asked = probeExpression(text, this.names, place.scope);
    await checkExpression(asked, this.names, place.scope);
    const code = await compiled(this.names, narrow ? both(narrow, asked) : asked);
    if (code) return code;
    throw new VmtapeError(
      "usage",
      `the condition '${text}' cannot be asked at each hit: it may have numbers, registers, members and names that are known here`,
      { got: text },
    );
  }

  private async plans(
    texts: readonly string[],
    scope: ProbeScope,
    { address }: ProbeAddress,
  ): Promise<Plans> {
    // Names of a program's own may be told by its debug information, at the machine.
    const isSource = this.names.symbols.lookup(address)?.place !== undefined;
    const plans: [string, PrintPlan][] = [];
    for (const text of texts) {
      const expression = probeExpression(text, this.names, scope);
      if (!isSource) await checkExpression(expression, this.names, scope);
      plans.push([text, await PrintPlan.make(this.names, expression)]);
    }
    return plans;
  }
}

function both(left: Expression, right: Expression): Expression {
  const root = { kind: "binary", column: 1, operator: "&&", left: left.root, right: right.root } as const;
  return { ...right, root };
}

const registers: ProbeItem = { collect: "registers" };
const returnAddress: ProbeItem = {
  collect: "memory",
  address: register("rsp").bytes,
  length: constant(8).bytes,
  most: 8,
};

/** One run past all probes: sets them, and makes hits of what comes. */
class ProbeRun {
  private readonly watches: readonly Watch[];
  private readonly names: ProbeNames;
  private readonly history: TaskHistory | undefined;
  private readonly visitor: HitVisitor | undefined;
  /** Collected at each hit: who runs; nothing where the history tells. */
  private readonly current: readonly ProbeItem[];
  private readonly calls = new OpenCalls<Watch>();
  /** What the open system call of each task was given, where it is lost at its end. */
  private readonly given = new Map<Watch, Map<string | undefined, string>>();
  /** When the open system call of each task began. */
  private readonly begun = new Map<Watch, Map<string | undefined, bigint>>();

  constructor(
    watches: readonly Watch[],
    names: ProbeNames,
    history: TaskHistory | undefined,
    visitor: HitVisitor | undefined,
  ) {
    this.watches = watches;
    this.names = names;
    this.history = history;
    this.visitor = visitor;
    this.current = history ? [] : (currentItems(names) ?? []);
  }

  get unreturned(): number {
    return this.calls.lost + this.calls.size;
  }

  /** Of probes at one place the one that was set last is told first. */
  async place(channel: ProbeChannel, returnsTo: readonly bigint[]): Promise<void> {
    const execute = (id: number, address: bigint, items: readonly ProbeItem[], when?: Uint8Array) =>
      channel.place(
        id,
        { at: "execute", address: guestAddress(address) },
        { collect: items.slice(0, mostItems + 7), ...(when && { when }) },
      );
    for (let id = this.watches.length - 1; id >= 0; id--) {
      const { place, when, plans, end, returnPlans } = this.watches[id]!;
      const items = [registers, ...this.current, returnAddress, ...place.items, ...itemsOf(plans)];
      const { begin } = place;
      if (begin) {
        const narrow = begin.narrow && (await compiled(this.names, begin.narrow));
        await execute(firstBeginId + id, begin.address, [...this.current, ...begin.items], narrow);
      }
      if (end) {
        const narrow = end.narrow && (await compiled(this.names, end.narrow));
        const ended = [registers, ...this.current, ...end.items, ...itemsOf(returnPlans)];
        await execute(firstEndId + id, end.address, ended, narrow);
      }
      await execute(id, place.address, items, when);
    }
    const plans = this.watches.flatMap(({ returns, returnPlans }) =>
      returns === "stack" ? returnPlans : [],
    );
    const collect = [registers, ...this.current, ...itemsOf(plans)];
    for (const [i, address] of returnsTo.entries()) await execute(firstReturnId + i, address, collect);
  }

  async take(batch: HitBatch, i: number): Promise<readonly ProbeHitEvent[]> {
    const id = batch.id(i);
    if (id >= firstBeginId && id < firstEndId) {
      this.began(batch, i, this.watches[id - firstBeginId]!);
      return [];
    }
    const [block, ...rest] = batch.pieces(i);
    const task = this.taskAt(batch, i, rest);
    const at = { registers: block!.bytes, task };
    if (id >= firstReturnId) return this.returned(batch, i, at, rest);
    const isEnd = id >= firstEndId;
    const watch = this.watches[isEnd ? id - firstEndId : id]!;
    if (!watch.probe.isLive) return [];
    const hit = isEnd
      ? await this.ended(batch, i, watch, at, rest)
      : await this.met(batch, i, watch, at, rest);
    return hit ? [hit] : [];
  }

  /** Takes what tells who runs from the pieces. */
  private taskAt(batch: HitBatch, i: number, pieces: HitPiece[]): HistoryTask | undefined {
    if (this.history) return this.history.taskAt(Number(batch.icount(i)));
    return this.current.length > 0 ? readCurrent(pieces.splice(0, currentPieces)) : undefined;
  }

  /** A call begins that will have lost what it was given. */
  private began(batch: HitBatch, i: number, watch: Watch): void {
    const pieces = batch.pieces(i);
    const task = this.taskAt(batch, i, pieces);
    const text = watch.place.begin!.describe(pieces);
    if (text) this.give(watch, task, text);
  }

  private give(watch: Watch, task: HistoryTask | undefined, text: string): void {
    const given = this.given.get(watch) ?? new Map<string | undefined, string>();
    this.given.set(watch, given.set(ownerOf(task), text));
  }

  /** What a call's end is, with what its beginning was given. */
  private withGiven(
    what: string | undefined,
    watch: Watch,
    task: HistoryTask | undefined,
  ): string | undefined {
    const text = this.given.get(watch)?.get(ownerOf(task));
    return text === undefined || what === undefined ? what : text + what.slice(what.lastIndexOf(" = "));
  }

  private async met(
    batch: HitBatch,
    i: number,
    watch: Watch,
    at: Where,
    [stack, ...rest]: readonly HitPiece[],
  ): Promise<ProbeHitEvent | undefined> {
    const { place, plans } = watch;
    const what = place.describe(rest.slice(0, place.items.length));
    if (what === null) return undefined;
    const returnTo = numberOf(stack);
    if (watch.returns === "stack" && returnTo !== undefined) {
      const slot = registerValue(at.registers, "rsp");
      const call = { watch, icount: batch.icount(i), slot, returnTo, owner: ownerOf(at.task) };
      this.calls.enter(spaceOf(slot, at), call);
    }
    if (watch.returns === "place") {
      if (watch.end?.begin && what !== undefined) this.give(watch, at.task, what);
      const begun = this.begun.get(watch) ?? new Map<string | undefined, bigint>();
      this.begun.set(watch, begun.set(ownerOf(at.task), batch.icount(i)));
    }
    const told = place.begin ? this.withGiven(what, watch, at.task) : what;
    const hit = this.hit(batch, i, { kind: "hit", watch, at, scope: place.scope, what: told });
    hit.values = await valuesOf(plans, hit, rest.slice(place.items.length));
    return hit;
  }

  /** A system call has its result. */
  private async ended(
    batch: HitBatch,
    i: number,
    watch: Watch,
    at: Where,
    rest: readonly HitPiece[],
  ): Promise<ProbeHitEvent | undefined> {
    const { end, returnPlans } = watch;
    const from = this.begun.get(watch)?.get(ownerOf(at.task));
    const what = end!.describe(rest.slice(0, end!.items.length));
    if (from === undefined || what === null) return undefined;
    this.begun.get(watch)?.delete(ownerOf(at.task));
    const instructions = batch.icount(i) - from;
    const told = end!.begin ? this.withGiven(what, watch, at.task) : what;
    const parts = { kind: "return", watch, at, scope: end!.scope, what: told, instructions } as const;
    const hit = this.hit(batch, i, parts);
    hit.values = await valuesOf(returnPlans, hit, rest.slice(end!.items.length));
    return hit;
  }

  /** Functions have returned here, if the stack pointer is one that any of them returns with. */
  private async returned(
    batch: HitBatch,
    i: number,
    at: Where,
    rest: readonly HitPiece[],
  ): Promise<readonly ProbeHitEvent[]> {
    const hits: ProbeHitEvent[] = [];
    const stack = registerValue(at.registers, "rsp");
    const space = spaceOf(stack - 8n, at);
    for (const call of this.calls.leave(space, batch.pc(i), stack)) {
      const { watch, isCertain } = call;
      if (!watch.probe.isLive) continue;
      const instructions = batch.icount(i) - call.icount;
      const scope = watch.place.returns!;
      const hit = this.hit(batch, i, { kind: "return", watch, at, scope, instructions, isCertain });
      const own = rest.slice(this.itemsBefore(watch));
      hit.values = await valuesOf(watch.returnPlans, hit, own);
      hits.push(hit);
    }
    return hits;
  }

  /** How many items of other watches come before one's own at a return. */
  private itemsBefore(watch: Watch): number {
    const others = this.watches.slice(0, this.watches.indexOf(watch));
    return others
      .filter(({ returns }) => returns === "stack")
      .reduce((sum, { returnPlans }) => sum + itemsOf(returnPlans).length, 0);
  }

  private hit(batch: HitBatch, i: number, met: Met): ProbeHitEvent {
    const { icount, brctr, pc, number, rep } = batch.hit(i);
    const { watch, at } = met;
    // Property by property: there are many of them, and many hits.
    return new ProbeHitEvent({
      kind: met.kind,
      probe: watch.probe,
      label: watch.place.label,
      icount,
      brctr,
      pc,
      rep,
      number,
      registers: at.registers,
      task: at.task,
      what: met.what,
      instructions: met.instructions,
      isCertain: met.isCertain ?? true,
      names: this.names,
      scope: met.scope,
      visitor: this.visitor,
    });
  }
}

/** What makes a hit of what the plugin tells. */
interface Met extends Pick<HitParts, "kind" | "scope" | "what" | "instructions" | "isCertain"> {
  readonly watch: Watch;
  readonly at: Where;
}

/** The machine at a hit. */
interface Where {
  readonly registers: Uint8Array;
  readonly task: HistoryTask | undefined;
}

const firstKernelAddress = 1n << 63n;

/** Stacks of the kernel are at addresses of their own; those of programs are told apart by task or page table. */
function spaceOf(slot: bigint, { registers: block, task }: Where): string {
  if (slot >= firstKernelAddress) return "";
  return ownerOf(task) ?? String(registerValue(block, "cr3") & ~0x1fffn);
}

function ownerOf(task: HistoryTask | undefined): string | undefined {
  return task && `${task.address} ${task.pid}`;
}

function itemsOf(plans: Plans): ProbeItem[] {
  return plans.flatMap(([, { items }]) => items);
}

async function valuesOf(
  plans: Plans,
  hit: ProbeHitEvent,
  pieces: readonly HitPiece[],
): Promise<ProbeValue[]> {
  const values: ProbeValue[] = [];
  let used = 0;
  for (const [expression, plan] of plans) {
    const own = pieces.slice(used, used + plan.items.length);
    used += plan.items.length;
    try {
      values.push({ expression, plan, text: await plan.print(hit, own, hit.collected), error: undefined });
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      values.push({ expression, plan, text: undefined, error });
    }
  }
  return values;
}
