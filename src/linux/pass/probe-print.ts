import { isVmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import { compileExpression } from "../../symbols/expression/compiler.js";
import { type ExpressionContext, evaluate, printExpression } from "../../symbols/expression/evaluator.js";
import type { Expression, Node } from "../../symbols/expression/syntax.js";
import { partsOf } from "../../symbols/expression/walk.js";
import { formatName } from "../../symbols/names/symbol-format.js";
import { builtin } from "../../symbols/types/builtin.js";
import { resolve } from "../../symbols/types/type.js";
import { integerValue, loadValue, toInteger } from "../../symbols/values/value.js";
import { type ProbeNames, symbolOf } from "./probe-names.js";

/** As GDB: so much of a string is shown, and a bit more is read to know that there is more. */
const longestText = 256;
const largestValue = 4096;
/** A probe collects at most 32 items; some are needed for other things. */
export const mostItems = 25;

/** Where a hit was, as far as expressions ask. */
export interface HitFacts {
  /** A `g` packet. */
  readonly registers: Uint8Array;
  readonly icount: bigint;
  readonly brctr: bigint | undefined;
  readonly number: bigint;
}

/** A part of an expression that lies in memory, and what is collected of it. */
interface Part {
  readonly kind: "value" | "text";
  readonly node: Node;
}

/**
 * How an expression is printed at each hit without stopping the machine: the memory it needs is collected by the plugin,
 * part by part, and the expression is evaluated over that. What was not foreseen is noticed: the answer is then that the
 * machine itself must be looked at.
 */
export class PrintPlan {
  readonly expression: Expression;
  readonly items: readonly ProbeItem[];
  private readonly names: ProbeNames;
  private readonly parts: readonly Part[];

  private constructor(
    names: ProbeNames,
    expression: Expression,
    parts: readonly Part[],
    items: readonly ProbeItem[],
  ) {
    this.names = names;
    this.expression = expression;
    this.parts = parts;
    this.items = items;
  }

  static async make(names: ProbeNames, expression: Expression): Promise<PrintPlan> {
    const parts: Part[] = [];
    const items: ProbeItem[] = [];
    const compile = (root: Node) => compiled(names, { ...expression, root });
    for (const node of innermostFirst(expression.root)) {
      const address = await compile({ kind: "unary", column: 1, operator: "&", operand: node });
      const length = address && (await compile({ kind: "size", column: 1, of: node }));
      if (!address || !length || items.length >= mostItems) continue;
      parts.push({ kind: "value", node });
      items.push({ collect: "memory", address, length, most: largestValue });
    }
    const whole = (await mayBeText(names, expression)) ? await compile(expression.root) : undefined;
    if (whole) {
      parts.push({ kind: "text", node: expression.root });
      items.push({ collect: "text", address: whole, most: longestText });
    }
    return new PrintPlan(names, expression, parts, items);
  }

  /**
   * The value at a hit, as GDB prints it.
   *
   * @param pieces what was collected for {@link items}
   * @param memory what is known of the hit's memory; what was collected here is added
   * @returns undefined when memory is needed that was not collected
   * @throws VmtapeError as `printExpression`: the value cannot be had, on the machine neither
   */
  async print(
    facts: HitFacts,
    pieces: readonly HitPiece[],
    memory = new CollectedMemory(),
  ): Promise<string | undefined> {
    const context = hitContext(this.names, facts, memory);
    try {
      for (const [i, { kind, node }] of this.parts.entries()) {
        const piece = pieces[i];
        if (!piece) break;
        const asked =
          kind === "text" ? node : ({ kind: "unary", column: 1, operator: "&", operand: node } as const);
        const value = await evaluate({ ...this.expression, root: asked }, context);
        const address = toInteger(value.type, await loadValue(value, memory));
        memory.add(address, piece, kind);
      }
    } catch (error) {
      if (!isVmtapeError(error)) throw error; // what it leads to tells
    }
    memory.missed = false;
    try {
      const text = await printExpression(this.expression, context);
      return memory.missed ? undefined : text;
    } catch (error) {
      if (memory.missed && isVmtapeError(error)) return undefined;
      throw error;
    }
  }
}

/** Is the value, as far as can be told before there is any, a pointer whose string is shown? */
async function mayBeText(names: ProbeNames, expression: Expression): Promise<boolean> {
  const memory: GuestMemory = { read: async (_address, length) => new Uint8Array(length).fill(1) };
  const registers = new Uint8Array(lengthOfRegisters);
  try {
    const facts = { registers, icount: 1n, brctr: 1n, number: 1n };
    const { type } = await evaluate(expression, hitContext(names, facts, memory));
    const plain = resolve(type);
    if (plain.kind !== "pointer") return false;
    const target = resolve(plain.target);
    return target.kind === "int" && target.size === 1;
  } catch (error) {
    if (!isVmtapeError(error)) throw error;
    return true;
  }
}

/** Of a `g` packet. */
const lengthOfRegisters = 608;

/** Code that leaves an expression's value; undefined when there is none. */
export function compiled(names: ProbeNames, expression: Expression): Promise<Uint8Array | undefined> {
  return compileExpression(expression, {
    types: names.types,
    register: (name) => x86Register(name)?.number,
    symbol: (name) => symbolOf(names, name),
  });
}

/** What names mean at a hit, over memory that is at hand. */
export function hitContext(names: ProbeNames, facts: HitFacts, memory: GuestMemory): ExpressionContext {
  const special: Readonly<Record<string, bigint | undefined>> = {
    $icount: facts.icount,
    $brctr: facts.brctr,
    $hit: facts.number,
  };
  return {
    types: names.types,
    memory,
    register: (name) => (x86Register(name) ? registerValue(facts.registers, name) : undefined),
    symbol: (name) => symbolOf(names, name),
    special: (name) => {
      const value = special[name];
      return value === undefined ? undefined : integerValue(builtin.long, value);
    },
    nameOf: (address) => {
      const located = names.symbols.lookup(address);
      return located && formatName(located);
    },
  };
}

/** Parts that may lie in memory, each before those that need it. */
function* innermostFirst(node: Node): Generator<Node> {
  const { kind } = node;
  if (kind === "size") return; // its operand is not evaluated
  if (kind === "member") yield* within(node);
  else if (kind === "unary" && node.operator === "&") {
    if (node.operand.kind !== "name") yield* within(node.operand);
  } else {
    for (const part of partsOf(node)) yield* innermostFirst(part);
  }
  if (inMemory.has(kind) || (kind === "unary" && node.operator === "*")) yield node;
}

const inMemory: ReadonlySet<Node["kind"]> = new Set(["name", "member", "index", "at", "repeat"]);

/** What finding a member's place needs: the pointer to its owner, but not all of the owner. */
function* within(node: Node): Generator<Node> {
  if (node.kind !== "member") {
    yield* innermostFirst(node);
    return;
  }
  const { operand } = node;
  if (operand.kind === "member") {
    yield* within(operand);
    yield operand; // it may be a pointer; of a structure the members are
  } else if (operand.kind === "unary" && operand.operator === "*") {
    yield* innermostFirst(operand.operand);
    yield operand;
  } else {
    yield* innermostFirst(operand);
  }
}

/** Memory as far as it was collected. */
export class CollectedMemory implements GuestMemory {
  /** Something was asked for that nobody collected. */
  missed = false;
  private readonly held: { readonly start: bigint; readonly bytes: Uint8Array }[] = [];
  private readonly holes: bigint[] = [];

  add(address: bigint, { bytes, state }: HitPiece, kind: Part["kind"]): void {
    const start = BigInt.asUintN(64, address);
    if (state === "unreadable") this.holes.push(start);
    // A text ends with the NUL that was left out.
    else
      this.held.push({
        start,
        bytes: kind === "text" && state === "whole" ? Buffer.concat([bytes, behindText]) : bytes,
      });
  }

  async read(address: bigint, length: number): Promise<Uint8Array | undefined> {
    const end = address + BigInt(length);
    for (const { start, bytes } of this.held) {
      if (address < start || end > start + BigInt(bytes.length)) continue;
      const from = Number(address - start);
      return bytes.subarray(from, from + length);
    }
    // What begins where nothing could be read cannot be read.
    if (!this.holes.includes(address)) this.missed = true;
    return undefined;
  }
}

/** What follows a text's NUL matters to nobody, but is asked for. */
const behindText = new Uint8Array(longestText);
