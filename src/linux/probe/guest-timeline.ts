import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { during } from "../../base/run-context.js";
import { throwIfCancelled } from "../../base/stopping.js";
import { guestAddress, type Icount } from "../../base/units.js";
import { Timeline, type TimelineOptions, type TimelineParts } from "../../replay/timeline/timeline.js";
import { printExpression } from "../../symbols/expression/evaluator.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import type { KernelPlacement } from "../../symbols/kernel/kaslr.js";
import type { Tape } from "../../tape/tape.js";
import { plainContext } from "../context/plain-context.js";
import { presentContext } from "../context/task-context.js";
import { loadKernelOnce } from "../guest/kernel-cache.js";
import { LinuxGuest } from "../guest/linux-guest.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import { stoppedTimeline } from "../guest/stopped-timeline.js";
import { TapeDebug } from "../names/program-debug.js";
import { TapeSymbols } from "../names/tape-symbols.js";
import { type ProbeNames, probeNamesOf } from "../pass/probe-names.js";
import { knownHistory } from "../pass/task-pass.js";
import type { SyscallKernel } from "../syscall/pass.js";
import { readSyscalls } from "../syscall/syscalls.js";
import type { HitVisitor, ProbeHitEvent } from "./hit.js";
import type { Probe, ProbeSpec } from "./probe.js";
import { Probes } from "./probes.js";
import type { ProbeHandlers } from "./watch.js";

export interface GuestTimelineOptions extends TimelineOptions {
  /** The tape's cache (`tapeCache`), where names and the kernel's place are kept. */
  readonly cache: string;
}

/** A stretch of a tape that probes are run over. */
export interface PlayRange {
  /** Default: where the timeline stands. */
  readonly from?: Icount;
  /** Default: the tape's end. */
  readonly to?: Icount;
}

/**
 * A {@link Timeline} that knows the guest's names: it takes probes, with handlers.
 *
 * ```ts
 * await using timeline = await GuestTimeline.open(tape, await timelineOptions(places, tape));
 * await timeline.probe("do_filp_open", async (hit) => {
 *   console.log(hit.position.icount, hit.task?.name, await hit.value("pathname->name"));
 * }, { print: ["pathname->name"] });
 * await timeline.play();
 * ```
 */
export class GuestTimeline extends Timeline {
  private readonly guestOptions: GuestTimelineOptions;
  private known: { readonly symbols: TapeSymbols; readonly kernel: LinuxKernel | undefined } | undefined;
  private probes: Probes | undefined;

  private constructor(tape: Tape, options: GuestTimelineOptions, parts: TimelineParts) {
    super(tape, options, parts);
    this.guestOptions = options;
  }

  /**
   * Opens a tape.
   *
   * @throws everything `Timeline.open` throws
   */
  static override async open(tape: Tape, options: GuestTimelineOptions): Promise<GuestTimeline> {
    return new GuestTimeline(tape, options, await Timeline.begin(tape, options));
  }

  /** All names of the tape. The first time for a tape costs a part of a replay, to find where the kernel lies. */
  async symbols(signal?: AbortSignal): Promise<TapeSymbols> {
    return (await this.load(signal)).symbols;
  }

  /**
   * Sets a probe: from now on {@link play} calls the handler at each hit, or its `pre` and `return` functions. Any number
   * of probes are told in one pass.
   *
   * @param where a symbol, a pattern, FILE:LINE, an address, `sys_enter:NAME`, `sys_exit:NAME`, or an event; see
   *   `ProbeSpec`
   * @param options expressions in `print` are collected in passing: the hit then has them without a visit there
   * @throws VmtapeError `not-found` with the nearest names; `usage`, as `Probes.add`
   */
  async probe(
    where: string,
    handlers: ProbeHandlers,
    options: Omit<ProbeSpec, "where"> = {},
    signal?: AbortSignal,
  ): Promise<Probe> {
    const probes = await this.allProbes(signal);
    return probes.add({ where, ...options }, handlers);
  }

  /**
   * Replays a stretch and calls the handlers of all probes at their hits, in order, each awaited: the pass waits for
   * them. The timeline stands where it stood, or at the last hit that a handler looked at.
   *
   * Cost: one pass at about 1.2 times a plain replay; two with returns of functions.
   *
   * @throws `cancelled`; whatever a handler throws ends the pass
   */
  async play({ from = this.position.icount, to }: PlayRange = {}, signal?: AbortSignal): Promise<void> {
    const probes = await this.allProbes(signal);
    const { plugin, checkpoints } = this.guestOptions;
    const hits = probes.run({
      ...during(this.guestOptions, "probing"),
      plugin,
      checkpoints,
      since: from,
      follow: true,
      visitor: this.visitor(signal),
      to,
      signal,
    });
    for await (const _ of hits);
  }

  private async load(signal: AbortSignal | undefined) {
    this.known ??= {
      symbols: await TapeSymbols.load(this.tape, { ...this.guestOptions, signal }),
      kernel: loadKernelOnce(this.tape.layout.kernel, this.guestOptions.cache),
    };
    return this.known;
  }

  private async allProbes(signal: AbortSignal | undefined): Promise<Probes> {
    if (this.probes) return this.probes;
    const { symbols, kernel } = await this.load(signal);
    const names = probeNamesOf(symbols, kernel);
    const history = await knownHistory(this.guestOptions.cache);
    this.probes = new Probes(this.tape, names, history, () =>
      syscallKernel(this.tape, kernel, names, this.guestOptions.cache),
    );
    return this.probes;
  }

  /** Looks at the machine at a hit by going there. */
  private visitor(signal: AbortSignal | undefined): HitVisitor {
    const goTo = async (hit: ProbeHitEvent) => {
      throwIfCancelled(await this.goTo({ icount: hit.icount, pc: hit.pc }, signal));
    };
    return {
      memory: async (hit, address, length) => {
        await goTo(hit);
        return this.readMemory(guestAddress(address), length);
      },
      value: async (hit, expression) => {
        await goTo(hit);
        return this.print(expression, signal);
      },
    };
  }

  private async print(expression: Expression, signal: AbortSignal | undefined): Promise<string> {
    const { symbols, kernel } = await this.load(signal);
    const guest = kernel && symbols.place && (await this.linux(kernel, symbols.place));
    if (!guest) return printExpression(expression, await plainContext(this, symbols.symbols));
    using debug = new TapeDebug(this.tape, symbols);
    const { context } = await presentContext(this.tape, guest, this.position.pc, symbols.symbols, debug);
    return await printExpression(expression, context);
  }

  /** The guest's Linux here; undefined before it runs. */
  private async linux(kernel: LinuxKernel, place: KernelPlacement): Promise<LinuxGuest | undefined> {
    try {
      return await LinuxGuest.at(await stoppedTimeline(this), kernel, place);
    } catch (error) {
      if (!isVmtapeError(error, "not-found")) throw error;
      return undefined;
    }
  }
}

/**
 * What probes of system calls need of a tape's kernel.
 *
 * @param cache the tape's (`tapeCache`): the calls are read from the kernel's file once
 * @throws VmtapeError `not-found` when the tape holds no Linux kernel with symbols
 */
export function syscallKernel(
  tape: Tape,
  kernel: LinuxKernel | undefined,
  names: ProbeNames,
  cache?: string,
): SyscallKernel {
  if (!kernel) {
    throw new VmtapeError("not-found", `the tape ${tape.name} holds no Linux kernel with symbols`, {
      file: tape.layout.kernel,
    });
  }
  return {
    names,
    calls: readSyscalls(tape.layout.kernel, kernel, cache),
    release: kernel.symbols.release,
  };
}
