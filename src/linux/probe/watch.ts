import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import { constant, register } from "../pass/collect-code.js";
import type { PrintPlan } from "../pass/probe-print.js";
import type { ProbeHitEvent } from "./hit.js";
import type { ProbeAddress } from "./places.js";
import type { Probe, ProbeSpec } from "./probe.js";

export type ProbeHandler = (hit: ProbeHitEvent) => void | Promise<void>;

/** What is called at a probe: one function for hits and returns, or one for each. */
export type ProbeHandlers =
  | ProbeHandler
  | { readonly pre?: ProbeHandler | undefined; readonly return?: ProbeHandler | undefined };

export type Plans = readonly (readonly [text: string, plan: PrintPlan])[];

/** One address of a probe, ready to be watched. */
export interface Watch {
  readonly probe: SetProbe;
  readonly place: ProbeAddress;
  readonly when: Expression | undefined;
  readonly plans: Plans;
  /** `stack`: a function, whose returns are found by its return address. `place`: one whose end is a place of its own. */
  readonly returns: "none" | "stack" | "place";
  readonly returnPlans: Plans;
  /** Its end's place. */
  readonly end: ProbeAddress | undefined;
}

/** A probe with what is called at it. */
export class SetProbe implements Probe {
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

/** One condition and another. */
export function both(left: Expression, right: Expression): Expression {
  const root = { kind: "binary", column: 1, operator: "&&", left: left.root, right: right.root } as const;
  return { ...right, root };
}

/** Does it ask how often the place was met? */
export function asksForHits({ text }: Expression): boolean {
  return /\$hit\b/.test(text);
}

/** All of them. */
export const registers: ProbeItem = { collect: "registers" };
/** The word on top of the stack, where a function begins. */
export const returnAddress: ProbeItem = {
  collect: "memory",
  address: register("rsp").bytes,
  length: constant(8).bytes,
  most: 8,
};
