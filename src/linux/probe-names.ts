import { addressOfKey } from "../symbols/address.js";
import type { ExpressionSymbol } from "../symbols/expression-evaluator.js";
import { parseExpression } from "../symbols/expression-parser.js";
import type { Expression, Node } from "../symbols/expression-syntax.js";
import type { Symbols } from "../symbols/symbols.js";
import type { FunctionType, Type } from "../symbols/type.js";
import { Types } from "../symbols/type-set.js";
import type { LinuxKernel } from "./linux-kernel.js";
import type { TapeSymbols } from "./tape-symbols.js";

/** Where x86-64 functions get their arguments. Source: System V ABI, section 3.2.3. */
export const parameterRegisters = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"] as const;

/** What names mean at a probe, the same at every hit. */
export interface ProbeNames {
  readonly types: Types;
  readonly symbols: Symbols;
  /** Address of a kernel's symbol; undefined when it has none. */
  readonly address: (symbol: string) => bigint | undefined;
}

/** What names mean at probes of a tape. Without BTF there are no types but C's own. */
export function probeNamesOf(tape: TapeSymbols, kernel: LinuxKernel | undefined): ProbeNames {
  const table = tape.kernel?.table;
  return {
    types: kernel?.types ?? new Types(),
    symbols: tape.symbols,
    address: (symbol) => {
      const index = table?.names.find(symbol)[0];
      if (!table || index === undefined) return undefined;
      const address = addressOfKey(table.starts[index]!);
      return address < perCpuEnd ? address : address + (tape.place?.slide ?? 0n);
    },
  };
}

/** Per-CPU variables are linked from 0 on, and KASLR does not move them. */
const perCpuEnd = 1n << 32n;

/** The function at whose first instruction the probe is; its parameters are in their registers there. */
export interface ProbedFunction {
  readonly name: string;
  readonly type: FunctionType;
}

/**
 * Reads an expression for a probe: `current`, the parameters of the function that is probed, and on its return
 * `$retval`, are put in terms of registers and memory, which every hit has.
 *
 * @throws VmtapeError `usage`, as `parseExpression`
 */
export function probeExpression(
  text: string,
  names: ProbeNames,
  probed: ProbedFunction | undefined,
  isReturn = false,
): Expression {
  const expression = parseExpression(text, names.types);
  const parameters = isReturn ? [] : (probed?.type.parameters ?? []);
  const replace = (node: Node): Node | undefined => {
    if (node.kind === "register" && node.name === "$retval") {
      return isReturn && probed ? inRegister("rax", probed.type.result, node.column) : undefined;
    }
    if (node.kind !== "name") return undefined;
    const index = parameters.findIndex(({ name }) => name === node.name);
    const register = parameterRegisters[index];
    if (register) return inRegister(register, parameters[index]!.type, node.column);
    return node.name === "current" ? currentNode(names) : undefined;
  };
  return { ...expression, root: replaced(expression.root, replace) };
}

function inRegister(name: string, type: Type, column: number): Node {
  return { kind: "cast", column, type, operand: { kind: "register", column, name: `$${name}` } };
}

/** The variable behind `current`, through the table of per-CPU areas. */
function currentNode({ types, address }: ProbeNames): Node | undefined {
  const variable = address("pcpu_hot") ?? address("current_task");
  const table = address("__per_cpu_offset");
  if (variable === undefined || !types.findStruct("task_struct")) return undefined;
  const place = table === undefined ? `${variable}` : `*(unsigned long *)${table} + ${variable}`;
  return parseExpression(`*(struct task_struct **)(${place})`, types).root;
}

/** The tree with some nodes replaced, from the top down. */
function replaced(node: Node, replace: (node: Node) => Node | undefined): Node {
  const other = replace(node);
  if (other) return other;
  const inner = (child: Node) => replaced(child, replace);
  switch (node.kind) {
    case "unary":
    case "cast":
    case "at":
    case "member":
      return { ...node, operand: inner(node.operand) };
    case "binary":
      return { ...node, left: inner(node.left), right: inner(node.right) };
    case "conditional":
      // biome-ignore lint/suspicious/noThenProperty: the syntax tree's own name
      return { ...node, test: inner(node.test), then: inner(node.then), otherwise: inner(node.otherwise) };
    case "index":
      return { ...node, operand: inner(node.operand), index: inner(node.index) };
    case "repeat":
      return { ...node, operand: inner(node.operand), count: inner(node.count) };
    default:
      return node;
  }
}

/** A symbol as expressions see it. */
export function symbolOf(names: ProbeNames, name: string): ExpressionSymbol | undefined {
  const found = names.symbols.find(name)[0];
  if (!found) return undefined;
  const type = wellKnown[name] ? names.types.findStruct(wellKnown[name]) : undefined;
  return { address: found.address, type };
}

/** Variables whose type BTF does not tell. */
const wellKnown: Readonly<Record<string, string>> = { init_task: "task_struct", init_mm: "mm_struct" };
