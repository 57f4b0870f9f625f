import type { ExpressionSymbol } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import type { Expression, Node } from "../../symbols/expression/syntax.js";
import { withParts } from "../../symbols/expression/walk.js";
import { kernelAddress } from "../../symbols/kernel/kaslr.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import { Types } from "../../symbols/types/set.js";
import type { FunctionType, Type } from "../../symbols/types/type.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import type { TapeSymbols } from "../names/tape-symbols.js";
import { type Code, constant } from "./collect-code.js";

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
    address: (symbol) => table && kernelAddress(table, symbol, tape.place?.slide ?? 0n),
  };
}

/** What names mean at one place beyond those known everywhere: a function's parameters, a system call's arguments. */
export interface ProbeScope {
  /** The function, or the system call; undefined where neither is known. */
  readonly name: string | undefined;
  /** Names that are shown where nothing else was asked for. */
  readonly shown: readonly string[];
  /** What a name, or a register's with its `$`, stands for. */
  find(name: string, column: number): Node | undefined;
  /** All names there are. */
  readonly names: readonly string[];
}

/** Of a place of which nothing is known. */
export const plainScope: ProbeScope = { name: undefined, shown: [], names: [], find: () => undefined };

/** The parameters of a function, where its first instruction is about to run. */
export function entryScope(name: string, type: FunctionType): ProbeScope {
  const names = type.parameters.slice(0, parameterRegisters.length).map((one) => one.name ?? "");
  return {
    name,
    names: names.filter((one) => one !== ""),
    shown: names.filter((one) => one !== ""),
    find: (wanted, column) => {
      const index = names.indexOf(wanted);
      if (index < 0 || wanted === "") return undefined;
      return inRegister(parameterRegisters[index]!, type.parameters[index]!.type, column);
    },
  };
}

/** `$retval`, where a function has returned. Its parameters' registers hold anything by then. */
export function returnScope(name: string, type: FunctionType): ProbeScope {
  return {
    name,
    names: ["$retval"],
    shown: type.result.kind === "void" ? [] : ["$retval"],
    find: (wanted, column) => (wanted === "$retval" ? inRegister("rax", type.result, column) : undefined),
  };
}

/** A register as a value of a type. */
export function inRegister(name: string, type: Type, column: number): Node {
  return { kind: "cast", column, type, operand: { kind: "register", column, name: `$${name}` } };
}

/**
 * Reads an expression for a probe: `current` and the names of the place are put in terms of registers and memory, which
 * every hit has.
 *
 * @throws VmtapeError `usage`, as `parseExpression`
 */
export function probeExpression(text: string, names: ProbeNames, scope: ProbeScope): Expression {
  const expression = parseExpression(text, names.types);
  const replace = (node: Node): Node | undefined => {
    if (node.kind !== "register" && node.kind !== "name") return undefined;
    const local = scope.find(node.name, node.column);
    if (local) return local;
    return node.kind === "name" && node.name === "current" ? currentNode(names) : undefined;
  };
  return { ...expression, root: replaced(expression.root, replace) };
}

/** Where the kernel keeps its variable `current`, as code; undefined when this is no Linux that is known. */
export function currentCode(names: ProbeNames): Code | undefined {
  const { variable, table } = currentPlace(names);
  if (variable === undefined) return undefined;
  return table === undefined ? constant(variable) : constant(table).follow().plus(variable);
}

function currentPlace({ address }: ProbeNames) {
  return {
    variable: address("pcpu_hot") ?? address("current_task"),
    table: address("__per_cpu_offset"),
  };
}

/** The variable behind `current`, through the table of per-CPU areas. */
function currentNode(names: ProbeNames): Node | undefined {
  const { variable, table } = currentPlace(names);
  if (variable === undefined || !names.types.findStruct("task_struct")) return undefined;
  const place = table === undefined ? `${variable}` : `*(unsigned long *)${table} + ${variable}`;
  return parseExpression(`*(struct task_struct **)(${place})`, names.types).root;
}

/** The tree with some nodes replaced, from the top down. */
function replaced(node: Node, replace: (node: Node) => Node | undefined): Node {
  return replace(node) ?? withParts(node, (part) => replaced(part, replace));
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
