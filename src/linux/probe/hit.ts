import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { type Brctr, brctr, type GuestAddress, type Icount } from "../../base/units.js";
import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import type { Position } from "../../replay/session/position.js";
import { printExpression } from "../../symbols/expression/evaluator.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import type { HistoryTask } from "../history/task-history.js";
import { type ProbeNames, type ProbeScope, probeExpression } from "../pass/probe-names.js";
import { CollectedMemory, type HitFacts, hitContext, type PrintPlan } from "../pass/probe-print.js";
import type { Probe } from "./probe.js";

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

/** Looks at the machine at a hit, for what was not collected in passing. */
export interface HitVisitor {
  /** As many bytes as are mapped; undefined when the first is not. */
  memory(hit: ProbeHitEvent, address: bigint, length: number): Promise<Uint8Array | undefined>;
  /** The value of an expression whose names are registers, symbols and types alone. */
  value(hit: ProbeHitEvent, expression: Expression): Promise<string>;
}

/** What a hit is made of. */
export interface HitParts {
  readonly kind: "hit" | "return";
  readonly probe: Probe;
  readonly label: string;
  readonly icount: Icount;
  readonly brctr: Brctr | undefined;
  readonly pc: GuestAddress;
  readonly rep: bigint;
  readonly number: bigint;
  readonly registers: Uint8Array;
  readonly task: HistoryTask | undefined;
  readonly what?: string | undefined;
  readonly instructions?: bigint | undefined;
  readonly isCertain?: boolean;
  readonly names: ProbeNames;
  readonly scope: ProbeScope;
  readonly visitor: HitVisitor | undefined;
}

/** A probe was met: the machine as it was before the instruction there. */
export class ProbeHitEvent implements HitFacts {
  /** `return`: the function has returned, and the position is where. */
  readonly kind: "hit" | "return";
  readonly probe: Probe;
  /** What is there: the function, the line, or the system call. */
  readonly label: string;
  readonly icount: Icount;
  /** Undefined where branches are not followed. */
  readonly brctr: Brctr | undefined;
  readonly pc: GuestAddress;
  /** Iterations done of the `rep` instruction at `pc`. */
  readonly rep: bigint;
  /** How often this place was met in this run, this time included, whether the condition held or not. */
  readonly number: bigint;
  /** A `g` packet; see {@link register}. */
  readonly registers: Uint8Array;
  /** Who ran; undefined where that is not known. */
  readonly task: HistoryTask | undefined;
  /** What the event is, of those that are events. */
  readonly what: string | undefined;
  /** Of a return: instructions since the function was entered. */
  readonly instructions: bigint | undefined;
  /** Of a return: false when the call may have been left before without one. */
  readonly isCertain: boolean;
  /** Values of the expressions that were asked for with the probe. */
  values: readonly ProbeValue[] = [];
  private memoryHere: CollectedMemory | undefined;
  private readonly names: ProbeNames;
  private readonly scope: ProbeScope;
  private readonly visitor: HitVisitor | undefined;

  constructor(parts: HitParts) {
    this.kind = parts.kind;
    this.probe = parts.probe;
    this.label = parts.label;
    this.icount = parts.icount;
    this.brctr = parts.brctr;
    this.pc = parts.pc;
    this.rep = parts.rep;
    this.number = parts.number;
    this.registers = parts.registers;
    this.task = parts.task;
    this.what = parts.what;
    this.instructions = parts.instructions;
    this.isCertain = parts.isCertain ?? true;
    this.names = parts.names;
    this.scope = parts.scope;
    this.visitor = parts.visitor;
  }

  /** What was collected in passing. */
  get collected(): CollectedMemory {
    this.memoryHere ??= new CollectedMemory();
    return this.memoryHere;
  }

  /** Where a timeline can go. */
  get position(): Position {
    return { icount: this.icount, brctr: this.brctr ?? brctr(0), pc: this.pc, rep: this.rep };
  }

  /** A register of at most 8 bytes by name: `rdi`, `cr3`. Costs nothing. @throws VmtapeError `usage` for another name */
  register(name: string): bigint {
    const register = x86Register(name);
    if (!register || register.bytes > 8) {
      throw new VmtapeError("usage", `there is no register '${name}' of at most 8 bytes`, { got: name });
    }
    return registerValue(this.registers, name);
  }

  /**
   * Memory at this very instant: as many bytes from `address` on as are mapped; undefined when the first is not.
   *
   * Cost: nothing for what the probe's expressions have collected; else the machine is visited here, some 10 ms and the
   * way from the hit visited before.
   */
  async memory(address: bigint, length: number): Promise<Uint8Array | undefined> {
    const known = await this.collected.read(address, length);
    return known ?? this.visit().memory(this, address, length);
  }

  /**
   * The value of an expression at this very instant, as GDB prints it: parameters by name, `current`, `$retval`, members,
   * registers.
   *
   * Cost: that of a lookup for the probe's own expressions, and for what registers and collected memory can answer;
   * else as {@link memory}.
   *
   * @throws VmtapeError `usage`, `not-found`, `not-mapped`, as `evaluate`
   */
  async value(text: string): Promise<string> {
    const known = this.values.find(({ expression }) => expression === text);
    if (known?.error) throw known.error;
    if (known?.text !== undefined) return known.text;
    const expression = known?.plan.expression ?? probeExpression(text, this.names, this.scope);
    const { collected } = this;
    collected.missed = false;
    try {
      const printed = await printExpression(expression, hitContext(this.names, this, collected));
      if (!collected.missed) return printed;
    } catch (error) {
      if (!collected.missed || !isVmtapeError(error)) throw error;
    }
    return this.visit().value(this, expression);
  }

  private visit(): HitVisitor {
    if (this.visitor) return this.visitor;
    throw new VmtapeError(
      "usage",
      "this was not collected: name it among the probe's expressions, or run the probes of a timeline, which can go there",
    );
  }
}
