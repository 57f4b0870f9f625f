import { isVmtapeError } from "../../base/errors.js";
import { firstKernelAddress, guestAddress, type Icount } from "../../base/units.js";
import type { ProbeChannel, ProbeItem } from "../../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../../qemu/probe-hits.js";
import { registerValue } from "../../qemu/x86-registers.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import { AddressSpaces } from "../history/address-spaces.js";
import type { HistoryTask, TaskHistory } from "../history/task-history.js";
import type { ProbeNames } from "../pass/probe-names.js";
import { compiled, mostItems, PrintPlan } from "../pass/probe-print.js";
import { ProbeSet } from "../pass/probe-set.js";
import { currentItems, currentPieces, numberOf, readCurrent } from "../pass/probe-task.js";
import { OpenCalls } from "./calls.js";
import { type HitParts, type HitVisitor, ProbeHitEvent, type ProbeValue } from "./hit.js";
import { asksForHits, both, type Plans, registers, returnAddress, type Watch } from "./watch.js";

/** What a hit is: the place itself (`met`), before the wanted instant (`count`), where its call begins or ends, a return. */
type RunHit =
  | { readonly kind: "met" | "count" | "begin" | "end"; readonly watch: Watch }
  | { readonly kind: "return" };

/** One run past all probes: sets them, and makes hits of what comes. */
export class ProbeRun {
  private readonly probes = new ProbeSet<RunHit>();
  private readonly watches: readonly Watch[];
  private readonly names: ProbeNames;
  private readonly history: TaskHistory | undefined;
  private readonly spaces: AddressSpaces | undefined;
  private readonly visitor: HitVisitor | undefined;
  /** Collected at each hit: who runs; nothing where the history tells. */
  private readonly current: readonly ProbeItem[];
  private readonly calls = new OpenCalls<Watch>();
  /** Nothing before this instant counts. */
  private readonly since: Icount | undefined;
  /** How often each place was met before it. */
  private readonly before = new Map<Watch, bigint>();
  /** Conditions that ask for the number of hits, which only we know when the run did not begin at `since`. */
  private readonly filters = new Map<Watch, PrintPlan>();
  /** What the open system call of each task was given, where it is lost at its end. */
  private readonly given = new Map<Watch, Map<string | undefined, string>>();
  /** When the open system call of each task began. */
  private readonly begun = new Map<Watch, Map<string | undefined, bigint>>();

  private constructor(
    watches: readonly Watch[],
    names: ProbeNames,
    history: TaskHistory | undefined,
    visitor: HitVisitor | undefined,
    since: Icount | undefined,
  ) {
    this.since = since;
    this.watches = watches;
    this.names = names;
    this.history = history;
    this.spaces = history && new AddressSpaces(history.columns.spaces);
    this.visitor = visitor;
    this.current = history ? [] : (currentItems(names) ?? []);
  }

  static async make(
    watches: readonly Watch[],
    names: ProbeNames,
    history: TaskHistory | undefined,
    visitor: HitVisitor | undefined,
    since: Icount | undefined,
  ): Promise<ProbeRun> {
    const run = new ProbeRun(watches, names, history, visitor, since);
    for (const watch of watches) {
      if (since === undefined || !watch.when || !asksForHits(watch.when)) continue;
      const root = { kind: "unary", column: 1, operator: "!", operand: watch.when.root } as const;
      run.filters.set(watch, await PrintPlan.make(names, { ...watch.when, root }));
    }
    return run;
  }

  get unreturned(): number {
    return this.calls.lost + this.calls.size;
  }

  /** Of probes at one place the one that was set last is told first. */
  async place(channel: ProbeChannel, returnsTo: readonly bigint[]): Promise<void> {
    const execute = (hit: RunHit, address: bigint, items: readonly ProbeItem[], when?: Uint8Array) =>
      this.probes.place(
        channel,
        hit,
        { at: "execute", address: guestAddress(address) },
        { collect: items.slice(0, mostItems + 7), ...(when && { when }) },
      );
    for (const watch of this.watches.toReversed()) {
      const { place, plans, end, returnPlans } = watch;
      const filter = this.filters.get(watch);
      const items = [
        ...[registers, ...this.current, returnAddress, ...(filter?.items ?? [])],
        ...[...place.items, ...itemsOf(plans)],
      ];
      const when = filter ? place.narrow : watch.when;
      // What comes before the instant is counted, where the number of hits would be wrong without.
      if (this.since !== undefined) {
        await execute({ kind: "count", watch }, place.address, [], await this.code("<"));
      }
      const { begin } = place;
      if (begin) {
        const collect = [...this.current, ...begin.items];
        await execute({ kind: "begin", watch }, begin.address, collect, await this.code(">=", begin.narrow));
      }
      if (end) {
        const ended = [registers, ...this.current, ...end.items, ...itemsOf(returnPlans)];
        await execute({ kind: "end", watch }, end.address, ended, await this.code(">=", end.narrow));
      }
      await execute({ kind: "met", watch }, place.address, items, await this.code(">=", when));
    }
    const plans = this.watches.flatMap(({ returns, returnPlans }) =>
      returns === "stack" ? returnPlans : [],
    );
    const collect = [registers, ...this.current, ...itemsOf(plans)];
    const when = await this.code(">=");
    for (const address of returnsTo) await execute({ kind: "return" }, address, collect, when);
  }

  /** A condition with that on the instant before it; undefined for none. */
  private code(when: "<" | ">=", condition?: Expression): Promise<Uint8Array | undefined> | undefined {
    if (this.since === undefined) return condition && compiled(this.names, condition);
    const instant = parseExpression(`$icount ${when} ${this.since}`, this.names.types);
    return compiled(this.names, condition ? both(instant, condition) : instant);
  }

  async take(batch: HitBatch, i: number): Promise<readonly ProbeHitEvent[]> {
    const met = this.probes.meaningOf(batch.id(i));
    if (!met) return [];
    if (met.kind === "count") {
      this.before.set(met.watch, batch.hit(i).number);
      return [];
    }
    if (met.kind === "begin") {
      this.began(batch, i, met.watch);
      return [];
    }
    const [block, ...rest] = batch.pieces(i);
    const task = this.taskAt(batch, i, rest);
    const at = { registers: block!.bytes, task };
    if (met.kind === "return") return this.returned(batch, i, at, rest);
    const { watch } = met;
    if (!watch.probe.isLive || !this.isOfItsProgram(watch, batch, i, task)) return [];
    const hit =
      met.kind === "end"
        ? await this.ended(batch, i, watch, at, rest)
        : await this.met(batch, i, watch, at, rest);
    return hit ? [hit] : [];
  }

  /** Whether the task that runs has the place's program there. */
  private isOfItsProgram(
    { place: { program } }: Watch,
    batch: HitBatch,
    i: number,
    task: HistoryTask | undefined,
  ): boolean {
    if (!program || !this.spaces || !task) return true;
    this.spaces.moveTo(Number(batch.icount(i)));
    const mapping = this.spaces.at(task.mm, batch.pc(i));
    return mapping?.path === program.path && mapping.inode === program.inode;
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
    [stack, ...pieces]: readonly HitPiece[],
  ): Promise<ProbeHitEvent | undefined> {
    const { place, plans } = watch;
    const filter = this.filters.get(watch);
    const rest = filter ? pieces.slice(filter.items.length) : pieces;
    const what = place.describe(rest.slice(0, place.items.length));
    if (what === null) return undefined;
    if (filter && !(await this.passes(filter, batch, i, at, pieces))) return undefined;
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

  /** A condition on the number of hits. One that cannot be told counts as true, as it does everywhere. */
  private async passes(
    filter: PrintPlan,
    batch: HitBatch,
    i: number,
    { registers: block }: Where,
    pieces: readonly HitPiece[],
  ): Promise<boolean> {
    const { icount, brctr } = batch.hit(i);
    const facts = { registers: block, icount, brctr, number: this.numberOf(batch, i) };
    try {
      return (await filter.print(facts, pieces)) !== "1";
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      return true;
    }
  }

  /** How often the place was met since the run's instant. */
  private numberOf(batch: HitBatch, i: number): bigint {
    const { number } = batch.hit(i);
    const met = this.probes.meaningOf(batch.id(i));
    const before = met?.kind === "met" ? this.before.get(met.watch) : undefined;
    return this.since === undefined ? number : number - (before ?? 0n);
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
    const { icount, brctr, pc, rep } = batch.hit(i);
    const { watch, at } = met;
    const isOwn = this.probes.meaningOf(batch.id(i))?.kind === "met";
    // Property by property: there are many of them, and many hits.
    return new ProbeHitEvent({
      kind: met.kind,
      probe: watch.probe,
      label: watch.place.label,
      icount,
      brctr,
      pc,
      rep,
      number: isOwn ? this.numberOf(batch, i) : batch.hit(i).number,
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
