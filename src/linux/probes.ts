import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { type GuestAddress, guestAddress } from "../base/units.js";
import type { ProbeChannel, ProbeItem } from "../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../qemu/probe-hits.js";
import { registerValue } from "../qemu/x86-registers.js";
import { type HitBatchOptions, hitBatches } from "../replay/hit-batches.js";
import type { Tape } from "../tape/tape.js";
import { constant, register } from "./collect-code.js";
import { type ProbeNames, probeExpression } from "./probe-names.js";
import { type ProbeAddress, probePlaces } from "./probe-places.js";
import { compiled, type HitFacts, mostItems, PrintPlan } from "./probe-print.js";
import type { HistoryTask, TaskHistory } from "./task-history.js";

/** What a probe is. */
export interface ProbeSpec {
  /** A symbol, pattern, FILE:LINE, address, or event; see `probePlaces`. */
  readonly where: string;
  /** Only where this expression is not zero; asked by the plugin, without a stop. */
  readonly when?: string | undefined;
  /** Expressions whose values a hit has. Default: the function's parameters. */
  readonly print?: readonly string[] | undefined;
  /** Those that a return has, `$retval` among them, which is also the default. */
  readonly printOnReturn?: readonly string[] | undefined;
  /** Tell the returns of the function, too. */
  readonly returns?: boolean | undefined;
}

/** The value of one of a probe's expressions at a hit. */
export interface ProbeValue {
  readonly expression: string;
  /** As GDB prints it; undefined when it has none, or only the machine itself can tell. */
  readonly text: string | undefined;
  /** Why it has none. */
  readonly error: VmtapeError | undefined;
  /** Its plan, for who goes there: `text` and `error` are undefined then. */
  readonly plan: PrintPlan;
}

/** A probe was met. */
export interface ProbeHitEvent extends HitFacts {
  readonly kind: "hit" | "return";
  readonly probe: Probe;
  /** What is there: the function, or the line. */
  readonly label: string;
  readonly pc: GuestAddress;
  /** Undefined where nothing is known of the guest's tasks. */
  readonly task: HistoryTask | undefined;
  /** What the event is, of those that are events. */
  readonly what: string | undefined;
  readonly values: readonly ProbeValue[];
  /** Of a return: instructions since the function was entered. */
  readonly instructions: bigint | undefined;
}

export type ProbeHandler = (event: ProbeHitEvent) => void | Promise<void>;

/** A probe that was set. */
export interface Probe {
  readonly spec: ProbeSpec;
  /** Hits of one that is not are passed over; it may be changed at any time, in a handler too. */
  enabled: boolean;
}

export interface ProbeRunOptions extends Omit<HitBatchOptions, "prepare"> {
  readonly signal?: AbortSignal;
}

/** One address of a probe, ready to be watched. */
interface Watch {
  readonly probe: Probe;
  readonly handler: ProbeHandler | undefined;
  readonly place: ProbeAddress;
  readonly when: Uint8Array | undefined;
  readonly plans: readonly (readonly [text: string, plan: PrintPlan])[];
  readonly returnPlans: readonly (readonly [text: string, plan: PrintPlan])[];
}

/** An open call, by its task's page table and the stack pointer it returns with. */
interface OpenCall {
  readonly watch: Watch;
  readonly icount: bigint;
  readonly returnTo: bigint;
}

const maxProbes = 4096;
/** Ids of the places where functions return come behind all others. */
const firstReturnId = 1 << 20;

/**
 * Probes on a tape: any number of them, all told in one pass, in passing. Successor of the original's probes.
 *
 * ```ts
 * const names = probeNamesOf(await TapeSymbols.load(tape, …), loadLinuxKernel(tape.layout.kernel));
 * const probes = new Probes(tape, names, history);
 * await probes.add({ where: "do_filp_open", print: ["pathname->name"] }, (hit) => { … });
 * for await (const hit of probes.run({ plugin })) { … }
 * ```
 */
export class Probes {
  private readonly tape: Tape;
  private readonly names: ProbeNames;
  private readonly history: TaskHistory | undefined;
  private readonly watches: Watch[] = [];

  /** @param history who ran when; without it hits have no task */
  constructor(tape: Tape, names: ProbeNames, history?: TaskHistory) {
    this.tape = tape;
    this.names = names;
    this.history = history;
  }

  /**
   * Sets a probe for the next run.
   *
   * @throws VmtapeError `not-found`, `usage` for an expression that is none, or a condition that cannot be asked in passing
   */
  async add(spec: ProbeSpec, handler?: ProbeHandler): Promise<Probe> {
    const probe: Probe = { spec, enabled: true };
    for (const place of probePlaces(spec.where, this.names)) {
      const { probed } = place;
      const parameters =
        spec.when === undefined && place.items.length > 0 ? [] : (probed?.type.parameters ?? []);
      const wanted = spec.print ?? parameters.slice(0, 6).flatMap(({ name }) => name ?? []);
      const isVoid = probed?.type.result.kind === "void" || !probed;
      const returned = spec.printOnReturn ?? (isVoid ? [] : ["$retval"]);
      this.watches.push({
        probe,
        handler,
        place,
        when: spec.when === undefined ? undefined : await this.condition(spec.when, place),
        plans: await this.plans(wanted, place, false),
        returnPlans: spec.returns ? await this.plans(returned, place, true) : [],
      });
    }
    if (this.watches.length > maxProbes) {
      throw new VmtapeError("limit-exceeded", `more than ${maxProbes} places are probed`, {
        limit: maxProbes,
      });
    }
    return probe;
  }

  /**
   * Replays, and gives each hit in order, after its handler was called. It goes on only while it is read.
   *
   * With `returns` the stretch is replayed twice: the first time tells where the functions return to.
   */
  async *run(options: ProbeRunOptions): AsyncGenerator<ProbeHitEvent> {
    const { signal, ...pass } = options;
    const returnsTo = this.watches.some(({ probe }) => probe.spec.returns)
      ? await this.returnAddresses(pass, signal)
      : [];
    const calls = new Map<string, OpenCall>();
    const prepare = (channel: ProbeChannel) => this.place(channel, returnsTo);
    for await (const batch of hitBatches(this.tape, { ...pass, prepare }, signal)) {
      for (let i = 0; i < batch.length; i++) {
        const event =
          batch.id(i) >= firstReturnId
            ? await this.returned(batch, i, calls)
            : await this.met(batch, i, calls);
        if (!event) continue;
        const watch = this.watches[batch.id(i)];
        await watch?.handler?.(event);
        yield event;
      }
    }
  }

  private async met(
    batch: HitBatch,
    i: number,
    calls: Map<string, OpenCall>,
  ): Promise<ProbeHitEvent | undefined> {
    const watch = this.watches[batch.id(i)]!;
    if (!watch.probe.enabled) return undefined;
    const [block, stack, ...rest] = batch.pieces(i);
    const event = this.event(batch, i, "hit", watch, block!.bytes);
    const returnTo = stack && word(stack);
    if (watch.probe.spec.returns && returnTo !== undefined) {
      calls.set(callKey(event.registers, 8n), { watch, icount: event.icount, returnTo });
    }
    const own = watch.place.items.length;
    const what = watch.place.describe(rest.slice(0, own));
    return { ...event, what, values: await valuesOf(watch.plans, event, rest.slice(own)) };
  }

  private async returned(
    batch: HitBatch,
    i: number,
    calls: Map<string, OpenCall>,
  ): Promise<ProbeHitEvent | undefined> {
    const [block, ...rest] = batch.pieces(i);
    const key = callKey(block!.bytes, 0n);
    const call = calls.get(key);
    if (!call || call.returnTo !== batch.pc(i)) return undefined;
    calls.delete(key);
    const event = this.event(batch, i, "return", call.watch, block!.bytes);
    const instructions = event.icount - call.icount;
    const before = this.watches
      .slice(0, this.watches.indexOf(call.watch))
      .flatMap(({ returnPlans }) => returnPlans);
    const offset = before.reduce((sum, [, { items }]) => sum + items.length, 0);
    const values = await valuesOf(call.watch.returnPlans, event, rest.slice(offset));
    await call.watch.handler?.({ ...event, instructions, values });
    return { ...event, instructions, values };
  }

  private event(
    batch: HitBatch,
    i: number,
    kind: ProbeHitEvent["kind"],
    { probe, place }: Watch,
    registers: Uint8Array,
  ): ProbeHitEvent {
    const { icount, brctr, pc, number } = batch.hit(i);
    const task = this.history?.taskAt(Number(icount));
    const facts = { kind, probe, label: place.label, icount, brctr, pc, number, registers, task };
    return { ...facts, what: undefined, values: [], instructions: undefined };
  }

  /** All addresses to which the functions return that are probed with `returns`. */
  private async returnAddresses(
    options: Omit<ProbeRunOptions, "signal">,
    signal: AbortSignal | undefined,
  ): Promise<bigint[]> {
    const found = new Set<bigint>();
    const prepare = (channel: ProbeChannel) => this.place(channel, []);
    for await (const batch of hitBatches(this.tape, { ...options, follow: false, prepare }, signal)) {
      for (let i = 0; i < batch.length; i++) {
        const stack = batch.pieces(i)[1];
        const address = stack && word(stack);
        if (address !== undefined && this.watches[batch.id(i)]?.probe.spec.returns) found.add(address);
      }
    }
    return [...found];
  }

  private async place(channel: ProbeChannel, returnsTo: readonly bigint[]): Promise<void> {
    for (const [id, { place, when, plans }] of this.watches.entries()) {
      const collect = [...always, ...place.items, ...plans.flatMap(([, { items }]) => items)];
      await channel.place(
        id,
        { at: "execute", address: guestAddress(place.address) },
        { collect: collect.slice(0, mostItems + always.length), ...(when && { when }) },
      );
    }
    const plans = this.watches.flatMap(({ returnPlans }) => returnPlans);
    const collect = [registers, ...plans.flatMap(([, { items }]) => items)].slice(0, mostItems + 1);
    for (const [i, address] of returnsTo.entries()) {
      await channel.place(firstReturnId + i, { at: "execute", address: guestAddress(address) }, { collect });
    }
  }

  private async condition(text: string, { probed }: ProbeAddress): Promise<Uint8Array> {
    const code = await compiled(this.names, probeExpression(text, this.names, probed));
    if (code) return code;
    throw new VmtapeError(
      "usage",
      `the condition '${text}' cannot be asked at each hit: it may have numbers, registers, members and names that are known here`,
      { got: text },
    );
  }

  private plans(texts: readonly string[], { probed }: ProbeAddress, isReturn: boolean) {
    return Promise.all(
      texts.map(
        async (text): Promise<[string, PrintPlan]> => [
          text,
          await PrintPlan.make(this.names, probeExpression(text, this.names, probed, isReturn)),
        ],
      ),
    );
  }
}

const registers: ProbeItem = { collect: "registers" };
/** Collected at each entry: the registers, and the return address. */
const always: readonly ProbeItem[] = [
  registers,
  { collect: "memory", address: register("rsp").bytes, length: constant(8).bytes, most: 8 },
];

/** Tells open calls apart: address spaces (without PCID and page-table isolation's bit) and stacks. */
function callKey(block: Uint8Array, returned: bigint): string {
  return `${registerValue(block, "cr3") & ~0x1fffn}:${registerValue(block, "rsp") + returned}`;
}

async function valuesOf(
  plans: readonly (readonly [text: string, plan: PrintPlan])[],
  facts: HitFacts,
  pieces: readonly HitPiece[],
): Promise<ProbeValue[]> {
  const values: ProbeValue[] = [];
  let used = 0;
  for (const [expression, plan] of plans) {
    const own = pieces.slice(used, used + plan.items.length);
    used += plan.items.length;
    try {
      values.push({ expression, plan, text: await plan.print(facts, own), error: undefined });
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      values.push({ expression, plan, text: undefined, error });
    }
  }
  return values;
}

function word({ bytes, state }: HitPiece): bigint | undefined {
  if (state !== "whole" || bytes.length < 8) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}
