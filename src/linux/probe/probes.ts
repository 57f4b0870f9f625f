import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { firstKernelAddress, guestAddress, icount } from "../../base/units.js";
import type { ProbeChannel } from "../../qemu/probe-channel.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import type { Tape } from "../../tape/tape.js";
import type { TaskHistory } from "../history/task-history.js";
import { guestPrograms } from "../names/stack-programs.js";
import { type ProbeNames, type ProbeScope, probeExpression } from "../pass/probe-names.js";
import { type PassOptions, passSince } from "../pass/probe-pass.js";
import { compiled, PrintPlan } from "../pass/probe-print.js";
import { numberOf } from "../pass/probe-task.js";
import type { SyscallKernel } from "../syscall/pass.js";
import { checkExpression } from "./check.js";
import type { HitVisitor, ProbeHitEvent } from "./hit.js";
import { isEvent, type ProbeAddress, probePlaces } from "./places.js";
import type { Probe, ProbeSpec } from "./probe.js";
import { ProgramPlaces, programWords } from "./program-places.js";
import { ProbeRun } from "./run.js";
import { parseSyscallPlace, syscallAddresses } from "./syscalls.js";
import {
  asksForHits,
  both,
  type Plans,
  type ProbeHandlers,
  returnAddress,
  SetProbe,
  type Watch,
} from "./watch.js";

export interface ProbeRunOptions extends Omit<PassOptions, "prepare" | "arrived"> {
  /** Looks up what hits are asked for and have not collected. */
  readonly visitor?: HitVisitor;
}

const maxProbes = 4096;
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
  private readonly inPrograms: ProgramPlaces | undefined;
  private watches: Watch[] = [];
  /** Calls of the last run that were left without a return, or still ran at its end. */
  unreturned = 0;

  /**
   * @param history who ran when; without it each hit collects who runs
   * @param calls the kernel's system calls, for `sys_enter` and `sys_exit`; asked for when there is such a probe
   * @param inPrograms finds places in programs; by default made from the history
   */
  constructor(
    tape: Tape,
    names: ProbeNames,
    history?: TaskHistory,
    calls?: () => SyscallKernel,
    inPrograms?: ProgramPlaces,
  ) {
    this.tape = tape;
    this.names = names;
    this.history = history;
    this.inPrograms = inPrograms ?? (history && new ProgramPlaces(history, guestPrograms(tape)));
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
    const { visitor, ...pass } = options;
    this.watches = this.watches.filter((one) => !one.probe.removed);
    const returnsTo = this.watches.some(({ returns }) => returns === "stack")
      ? await this.returnAddresses(pass)
      : [];
    const run = await ProbeRun.make(this.watches, this.names, this.history, visitor, pass.since);
    const prepare = (channel: ProbeChannel) => run.place(channel, returnsTo);
    for await (const batch of passSince(this.tape, { ...pass, ...this.begin(pass), prepare })) {
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
    const places = await this.placesOf(probe.spec);
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

  private async placesOf({ where }: ProbeSpec): Promise<ProbeAddress[]> {
    if (parseSyscallPlace(where)) {
      if (!this.calls) throw new VmtapeError("usage", "system calls are not known here", { got: where });
      const { calls, release } = this.calls();
      return syscallAddresses(where, this.names, calls, release);
    }
    if (isEvent(where) || /^0x/.test(where)) return probePlaces(where, this.names);
    if (programWords(where)) return this.placesInProgram(where);
    return this.placesNamed(where);
  }

  /** @throws VmtapeError `not-found`; `usage` while nobody knows yet which programs ran where */
  private async placesInProgram(where: string): Promise<ProbeAddress[]> {
    if (!this.inPrograms) {
      throw new VmtapeError("usage", `where programs lie is not known yet, so '${where}' is not either`, {
        got: where,
        mend: `vmtape tasks ${this.tape.name}`,
      });
    }
    const places = await this.inPrograms.find(where);
    if (places.length > 0) return places;
    const { program, what } = programWords(where)!;
    throw new VmtapeError("not-found", `nothing is named '${what}' in ${program}`, { got: where });
  }

  /**
   * A name is the kernel's and that of a program at fixed addresses, if there is one; wherever programs have it that ran, it
   * is theirs, too.
   */
  private async placesNamed(where: string): Promise<ProbeAddress[]> {
    const found = this.names.symbols.resolve(where);
    const isKernels = found.length > 0 && found.every(({ address }) => address >= firstKernelAddress);
    if (isKernels || !this.inPrograms) return probePlaces(where, this.names);
    const inPrograms = await this.inPrograms.find(where);
    if (inPrograms.length === 0) return probePlaces(where, this.names);
    const inKernel =
      found.length === 0
        ? []
        : probePlaces(where, this.names).filter(({ address }) => address >= firstKernelAddress);
    return [...inKernel, ...inPrograms];
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
  private requireReturns({ address, end, program }: ProbeAddress, where: string): void {
    const located = program ? undefined : this.names.symbols.lookup(address);
    if (end || (program ? program.isEntry : !located || located.offset === 0)) return;
    const place = located ? `${located.name}+${located.offset}` : "within a function";
    const what = `it is ${place}, where the stack says nothing of a return`;
    throw new VmtapeError("usage", `returns of '${where}' cannot be told: ${what}`, { got: where });
  }

  /** Nothing happens at places in programs before these are there. */
  private begin({ since }: Pick<PassOptions, "since">): Pick<PassOptions, "since"> {
    const first = Math.min(...this.watches.map(({ place }) => place.program?.since ?? 0));
    if (!Number.isFinite(first) || first <= Number(since ?? 0)) return {};
    return { since: icount(BigInt(first)) };
  }

  /** All addresses to which the functions return that are probed with their returns. */
  private async returnAddresses(options: ProbeRunOptions): Promise<bigint[]> {
    const found = new Set<bigint>();
    const watches = this.watches.filter(({ returns }) => returns === "stack");
    const prepare = async (channel: ProbeChannel) => {
      for (const [id, { place, when }] of watches.entries()) {
        const at = { at: "execute", address: guestAddress(place.address) } as const;
        const code = when && !asksForHits(when) ? await compiled(this.names, when) : undefined;
        await channel.place(id, at, { collect: [returnAddress], ...(code && { when: code }) });
      }
    };
    const pass = { ...options, ...this.begin(options), follow: false, prepare };
    for await (const batch of passSince(this.tape, pass)) {
      for (let i = 0; i < batch.length; i++) {
        const address = numberOf(batch.pieces(i)[0]);
        if (address !== undefined) found.add(address);
      }
    }
    return [...found];
  }

  private async condition(text: string | undefined, place: ProbeAddress): Promise<Expression | undefined> {
    const { narrow } = place;
    if (text === undefined) return narrow;
    const asked = probeExpression(text, this.names, place.scope);
    await checkExpression(asked, this.names, place.scope);
    const all = narrow ? both(narrow, asked) : asked;
    if (await compiled(this.names, all)) return all;
    throw new VmtapeError(
      "usage",
      `the condition '${text}' cannot be asked at each hit: it may have numbers, registers, members and names that are known here`,
      { got: text },
    );
  }

  private async plans(
    texts: readonly string[],
    scope: ProbeScope,
    { address, program }: ProbeAddress,
  ): Promise<Plans> {
    // Names of a program's own may be told by its debug information, at the machine.
    const isSource = program?.hasDebug ?? this.names.symbols.lookup(address)?.place !== undefined;
    const plans: [string, PrintPlan][] = [];
    for (const text of texts) {
      const expression = probeExpression(text, this.names, scope);
      if (!isSource) await checkExpression(expression, this.names, scope);
      plans.push([text, await PrintPlan.make(this.names, expression)]);
    }
    return plans;
  }
}
