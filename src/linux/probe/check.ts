import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { x86Register } from "../../qemu/x86-registers.js";
import { type ExpressionContext, evaluate } from "../../symbols/expression/evaluator.js";
import type { Expression, Node } from "../../symbols/expression/syntax.js";
import { partsOf } from "../../symbols/expression/walk.js";
import { NameList } from "../../symbols/tables/name-list.js";
import { nearestNames } from "../../symbols/tables/name-search.js";
import { builtin } from "../../symbols/types/builtin.js";
import { integerValue } from "../../symbols/values/value.js";
import { type ProbeNames, type ProbeScope, symbolOf } from "../pass/probe-names.js";

/** Memory in which every pointer leads somewhere. */
const anyMemory: GuestMemory = {
  read: async (_address, length) => new Uint8Array(length).fill(1),
};
const facts = new Set(["$icount", "$brctr", "$hit"]);
/** What depends on the values, not on the names. */
const aboutValues = /zero|elements|cannot be/;
const mostNearest = 5;

/**
 * Looks at an expression before anything is replayed: does everything in it that has a name exist?
 *
 * @throws VmtapeError `not-found` with the nearest names; `usage` for operands that cannot be what they are used for
 */
export async function checkExpression(
  expression: Expression,
  names: ProbeNames,
  scope: ProbeScope,
): Promise<void> {
  const context: ExpressionContext = {
    types: names.types,
    memory: anyMemory,
    register: (name) => (x86Register(name) ? 1n : undefined),
    symbol: (name) => symbolOf(names, name),
    special: (name) => (facts.has(name) ? integerValue(builtin.long, 1n) : undefined),
  };
  for (const root of parts(expression.root)) {
    try {
      await evaluate({ ...expression, root }, context);
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      if (error.code === "not-found") throw withNearest(error, names, scope);
      if (error.code === "usage" && !aboutValues.test(error.message)) throw error;
    }
  }
}

/** The whole, and what an evaluation may pass over: the sides of logical operators. */
function* parts(node: Node): Generator<Node> {
  yield node;
  const { kind } = node;
  const isLogical = kind === "binary" && (node.operator === "&&" || node.operator === "||");
  if (isLogical || kind === "conditional" || kind === "unary" || kind === "cast") {
    for (const part of partsOf(node)) yield* parts(part);
  }
}

function withNearest(error: VmtapeError, names: ProbeNames, scope: ProbeScope): VmtapeError {
  const { got } = error.facts;
  // Of a member the evaluator tells those like it.
  if (got === undefined || / has no member '/.test(error.message)) return error;
  const nearest = nearestTo(got, names, scope);
  if (nearest.length === 0) return error;
  return new VmtapeError("not-found", `${error.message}; there are ${nearest.join(", ")}`, {
    ...error.facts,
    nearest,
  });
}

function nearestTo(got: string, names: ProbeNames, scope: ProbeScope): string[] {
  const near = nearestOf(got, [...scope.names, "current", "$icount", "$brctr", "$hit"]);
  if (near.length > 0) return near;
  const symbols = got.startsWith("$") ? [] : names.symbols.nearestNames(got, mostNearest);
  return symbols.length > 0 ? symbols : scope.names.slice(0, mostNearest);
}

/** Those of a list of names that are most like one that is not in it. */
export function nearestOf(name: string, all: readonly string[]): string[] {
  return nearestNames(name, [NameList.from(all)], mostNearest);
}
