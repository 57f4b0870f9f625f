import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { NameList } from "../tables/name-list.js";
import { nearestNames } from "../tables/name-search.js";
import { builtin, builtinFloat, pointerTo } from "../types/builtin.js";
import { formatType } from "../types/name.js";
import type { Types } from "../types/set.js";
import { expressionError } from "../types/token.js";
import {
  ArrayType,
  type ForwardType,
  isStruct,
  type PointerType,
  resolve,
  sizeOf,
  type Type,
} from "../types/type.js";
import { memberOf, pieceOf } from "../values/part.js";
import { type PrintContext, printValue } from "../values/print.js";
import { integerValue, loadValue, optimizedOut, type Value, valueAt } from "../values/value.js";
import {
  binaryNumber,
  bytesOfNumber,
  compare,
  type NumberValue,
  numberOf,
  ofTruth,
  promotedType,
  wrap,
} from "./arithmetic.js";
import { registerPart } from "./registers.js";
import type { BinaryOperator, Expression, Node } from "./syntax.js";

type Eventually<T> = T | Promise<T>;

/** A symbol as an expression sees it. */
export interface ExpressionSymbol {
  readonly address: bigint;
  /** Where its source knows it (DWARF); otherwise BTF is asked by name. */
  readonly type?: Type | undefined;
}

/** What names mean at an instant of the guest. */
export interface ExpressionContext extends PrintContext {
  readonly types: Types;
  /** A whole register by its name (`rax`, `rip`, `eflags`, `gs_base`); its bits, unsigned. */
  readonly register?: ((name: string) => Eventually<bigint | undefined>) | undefined;
  readonly symbol?: ((name: string) => Eventually<ExpressionSymbol | undefined>) | undefined;
  /** Names that stand before all others: `current`, a frame's variables, and with their `$`: `$retval`, `$icount`. */
  readonly special?: ((name: string) => Eventually<Value | undefined>) | undefined;
  /** Comparisons and logic give true and false, as in C++; in C they give 1 and 0. */
  readonly hasBool?: boolean | undefined;
}

/**
 * The value of an expression at an instant. What lies in memory is read only as far as the expression needs.
 *
 * @throws VmtapeError with `column` where it failed: `usage` for operands that do not fit, `not-found` for a name or
 *   member there is not, `not-mapped` (and `address`) where memory is missing
 */
export async function evaluate(expression: Expression, context: ExpressionContext): Promise<Value> {
  return new Evaluator(expression.text, context).value(expression.root);
}

/**
 * Is the expression true: not zero?
 *
 * @throws as `evaluate`
 */
export async function evaluateTruth(expression: Expression, context: ExpressionContext): Promise<boolean> {
  const evaluator = new Evaluator(expression.text, context);
  return evaluator.truth(expression.root);
}

/**
 * The value of an expression as text, as GDB's `print` shows it.
 *
 * @throws as `evaluate`
 */
export async function printExpression(expression: Expression, context: ExpressionContext): Promise<string> {
  const evaluator = new Evaluator(expression.text, context);
  const value = await evaluator.value(expression.root);
  const { format = context.format } = expression;
  if (isUntyped(value.type)) evaluator.refuseUntyped(expression.root);
  return evaluator.located(expression.root, () => printValue(value, { ...context, format }));
}

/** What a symbol is of which only the address is known. */
const untyped: ForwardType = { kind: "forward", of: "struct", name: "<data variable, no debug info>" };

function isUntyped(type: Type): boolean {
  return type === untyped;
}

/** Names like one that is not known. */
const mostHints = 3;

class Evaluator {
  constructor(
    private readonly text: string,
    private readonly context: ExpressionContext,
  ) {}

  async value(node: Node): Promise<Value> {
    switch (node.kind) {
      case "integer":
        return integerValue(node.type, node.value);
      case "float":
        return this.fromNumber({ type: builtinFloat.double, integer: 0n, float: node.value });
      case "string": {
        const bytes = new Uint8Array(node.bytes.length + 1);
        bytes.set(node.bytes);
        return { type: new ArrayType(bytes.length, () => builtin.char), bytes };
      }
      case "name":
        return this.name(node.name, node.column);
      case "register":
        return this.register(node.name, node.column);
      case "unary":
        return this.unary(node);
      case "binary":
        return this.binary(node);
      case "conditional":
        return this.value((await this.truth(node.test)) ? node.then : node.otherwise);
      case "cast":
        return this.cast(node);
      case "at":
        return valueAt(node.type, (await this.number(node.operand)).integer);
      case "size": {
        const type = "column" in node.of ? (await this.value(node.of)).type : node.of;
        if (isUntyped(type)) this.refuseUntyped(node.of as Node);
        return integerValue(builtin.unsignedLong, BigInt(sizeOf(type)));
      }
      case "member":
        return this.member(node);
      case "index":
        return this.index(node);
      case "repeat":
        return this.repeat(node);
    }
  }

  async truth(node: Node): Promise<boolean> {
    const { integer, float } = await this.number(node);
    return float === undefined ? integer !== 0n : float !== 0;
  }

  /** Runs what reads memory for a node; errors tell where in the expression it is. */
  async located<T>(node: Node, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (!isVmtapeError(error) || error.facts.column !== undefined) throw error;
      const { column } = node;
      const message = `${error.message}, at column ${column} of '${this.text}'`;
      throw new VmtapeError(error.code, message, { ...error.facts, expression: this.text, column }, error);
    }
  }

  refuseUntyped(node: Node): never {
    const name = node.kind === "name" ? `'${node.name}'` : "it";
    throw this.error(node, `${name} has unknown type; cast it to its declared type`);
  }

  private error(node: Node, what: string, facts?: Readonly<Record<string, unknown>>): VmtapeError {
    return expressionError(this.text, node.column, what, facts);
  }

  private fromNumber(number: NumberValue): Value {
    return { type: number.type, bytes: bytesOfNumber(number, sizeOf(number.type)) };
  }

  private fromTruth(truth: boolean): Value {
    return this.context.hasBool
      ? integerValue(builtin.bool, truth ? 1n : 0n)
      : this.fromNumber(ofTruth(truth));
  }

  private async name(name: string, column: number): Promise<Value> {
    const special = await this.context.special?.(name);
    if (special) return special;
    const { types } = this.context;
    const symbol = await this.context.symbol?.(name);
    if (symbol) {
      const type = symbol.type ?? types.findVariable(name)?.type ?? types.findFunction(name) ?? untyped;
      return valueAt(type, symbol.address);
    }
    const variable = types.findVariable(name);
    if (variable?.constant !== undefined) return integerValue(variable.type, variable.constant);
    if (variable?.isGone) return { type: variable.type, missing: optimizedOut };
    const enumerator = types.findEnumerator(name);
    if (enumerator) return integerValue(enumerator.type, enumerator.value);
    if (name === "true" || name === "false") return integerValue(builtin.bool, name === "true" ? 1n : 0n);
    const message = `no '${name}' is known, at column ${column} of '${this.text}'`;
    throw new VmtapeError("not-found", message, { expression: this.text, column, got: name });
  }

  private async register(name: string, column: number): Promise<Value> {
    const special = await this.context.special?.(name);
    if (special) return special;
    const part = registerPart(name.slice(1));
    const whole = part && (await this.context.register?.(part.whole));
    if (part && whole !== undefined) return integerValue(part.type, whole >> BigInt(part.shift));
    const message = `no register ${name} is known here, at column ${column} of '${this.text}'`;
    throw new VmtapeError("not-found", message, { expression: this.text, column, got: name });
  }

  /** A node as a number; arrays and functions as their addresses. */
  private async number(node: Node): Promise<NumberValue> {
    return this.asNumber(node, await this.value(node));
  }

  private async asNumber(node: Node, value: Value): Promise<NumberValue> {
    if (isUntyped(value.type)) this.refuseUntyped(node);
    const pointer = this.decayed(value);
    if (pointer) return { ...pointer, float: undefined };
    const bytes = await this.located(node, () => loadValue(value, this.context.memory));
    const type = referred(value.type);
    if (type) return this.asNumber(node, valueAt(type.target, wrap(type, toAddress(bytes))));
    const number = numberOf(value.type, bytes);
    if (!number) throw this.error(node, `a value of type ${formatType(value.type)} is no number`);
    return number;
  }

  /** What C uses in place of an array or function in memory: its address. */
  private decayed({
    type,
    address,
  }: Value): { readonly type: PointerType; readonly integer: bigint } | undefined {
    const plain = resolve(type);
    if (address === undefined) return undefined;
    if (plain.kind === "array") return { type: pointerTo(plain.element), integer: address };
    if (plain.kind === "function") return { type: pointerTo(type), integer: address };
    return undefined;
  }

  private async unary(node: Extract<Node, { kind: "unary" }>): Promise<Value> {
    const { operator, operand } = node;
    if (operator === "&") return this.addressOf(node);
    if (operator === "!") return this.fromTruth(!(await this.truth(operand)));
    const number = await this.number(operand);
    if (operator === "*") return this.dereference(node, number);
    const type = promotedType(number.type);
    if (number.float !== undefined) {
      if (operator === "~") throw this.error(node, "'~' is not for floating-point numbers");
      return this.fromNumber({ ...number, float: operator === "-" ? -number.float : number.float });
    }
    const { integer } = number;
    const result = operator === "-" ? -integer : operator === "~" ? ~integer : integer;
    return this.fromNumber({ type, integer: wrap(type, result), float: undefined });
  }

  private dereference(node: Node, { type, integer, float }: NumberValue): Value {
    const plain = resolve(type);
    if (plain.kind === "pointer") {
      if (resolve(plain.target).kind === "void") {
        throw this.error(node, "a pointer to void leads to no value: cast it to what is there");
      }
      return valueAt(this.whole(plain.target), integer);
    }
    // GDB takes a plain number for the address of a long.
    if (float !== undefined) throw this.error(node, `a value of type ${formatType(type)} is no address`);
    return valueAt(builtin.long, integer);
  }

  /** What one source only declares, another may know whole: a module's structure, another unit's. */
  private whole(type: Type): Type {
    const plain = resolve(type);
    if (plain.kind !== "forward" || isUntyped(plain)) return type;
    return this.context.types.find(plain.of, plain.name) ?? type;
  }

  private async addressOf(node: Extract<Node, { kind: "unary" }>): Promise<Value> {
    const value = await this.value(node.operand);
    const reference = referred(value.type);
    if (reference) {
      // The address of what it refers to; it has none of its own.
      const bytes = await this.located(node.operand, () => loadValue(value, this.context.memory));
      return integerValue(pointerTo(reference.target), toAddress(bytes));
    }
    const { type, address, bits } = value;
    if (bits) throw this.error(node, "a bit field has no address");
    if (address === undefined) throw this.error(node, "the value is not in memory and has no address");
    return integerValue(pointerTo(type), address);
  }

  private async binary(node: Extract<Node, { kind: "binary" }>): Promise<Value> {
    const { operator, left, right } = node;
    if (operator === "&&" || operator === "||") {
      const first = await this.truth(left);
      const decided = operator === "&&" ? !first : first;
      return this.fromTruth(decided ? first : await this.truth(right));
    }
    const a = await this.number(left);
    const b = await this.number(right);
    const result = pointerArithmetic(operator, a, b) ?? binaryNumber(operator, a, b);
    if (typeof result === "string") throw this.error(node, result);
    return isComparison(operator) ? this.fromTruth(result.integer !== 0n) : this.fromNumber(result);
  }

  private async cast(node: Extract<Node, { kind: "cast" }>): Promise<Value> {
    const value = await this.value(node.operand);
    const plain = resolve(node.type);
    // What a symbol is that has no type, the cast says.
    if (isUntyped(value.type)) return { ...value, type: node.type };
    if (plain.kind === "void") return { type: node.type, bytes: new Uint8Array(0) };
    if (isStruct(plain) || plain.kind === "array" || plain.kind === "function") {
      const isSame = resolve(value.type) === plain || (plain.kind === "array" && value.address !== undefined);
      if (isSame) return { ...value, type: node.type };
      throw this.error(
        node,
        `a value of type ${formatType(value.type)} cannot become a ${formatType(node.type)}`,
      );
    }
    if (plain.kind === "forward") throw this.error(node, `nothing is known of ${formatType(node.type)}`);
    const number = await this.asNumber(node.operand, value);
    const { integer, float } = number;
    if (plain.kind === "float") {
      return this.fromNumber({ type: node.type, integer: 0n, float: float ?? Number(integer) });
    }
    const whole = float === undefined ? integer : Number.isFinite(float) ? BigInt(Math.trunc(float)) : 0n;
    return integerValue(node.type, wrap(node.type, whole));
  }

  private async member(node: Extract<Node, { kind: "member" }>): Promise<Value> {
    let owner = await this.value(node.operand);
    if (isUntyped(owner.type)) this.refuseUntyped(node.operand);
    let plain = resolve(owner.type);
    // GDB takes `.` and `->` for the same.
    if (plain.kind === "pointer") {
      const { integer } = await this.asPointer(node.operand, owner);
      owner = valueAt(this.whole(plain.target), integer);
      plain = resolve(owner.type);
    }
    if (!isStruct(plain)) {
      const what = formatType(owner.type);
      const why =
        plain.kind === "forward" ? `nothing is known of ${what}` : `a value of type ${what} has no members`;
      throw this.error(node, why);
    }
    const place = plain.findMember(node.name);
    if (!place) {
      const { column, name } = node;
      const nearest = nearestNames(name, [NameList.from(plain.memberNames)], mostHints);
      const hint = nearest.length === 0 ? "" : `; it has ${nearest.join(", ")}`;
      const message = `${formatType(owner.type)} has no member '${name}', at column ${column} of '${this.text}'${hint}`;
      throw new VmtapeError("not-found", message, { expression: this.text, column, got: name, nearest });
    }
    return memberOf(owner, place, this.context.memory);
  }

  private async asPointer(node: Node, value: Value) {
    const bytes = await this.located(node, () => loadValue(value, this.context.memory));
    return { integer: toAddress(bytes) };
  }

  private async index(node: Extract<Node, { kind: "index" }>): Promise<Value> {
    const owner = await this.value(node.operand);
    const at = await this.number(node.index);
    if (at.float !== undefined) throw this.error(node.index, "an index is a whole number");
    const plain = resolve(owner.type);
    if (plain.kind === "array" && owner.address === undefined) {
      const size = sizeOf(plain.element);
      if (at.integer < 0n || at.integer >= BigInt(plain.count ?? 0)) {
        throw this.error(node.index, `the array has ${plain.count ?? 0} elements, none at ${at.integer}`);
      }
      const part = { type: plain.element, offset: Number(at.integer) * size };
      return pieceOf(owner, part, this.context.memory);
    }
    const base = await this.asNumber(node.operand, owner);
    const pointer = resolve(base.type);
    if (pointer.kind !== "pointer") {
      throw this.error(node, `a value of type ${formatType(owner.type)} has no elements`);
    }
    return valueAt(this.whole(pointer.target), base.integer + at.integer * stride(pointer));
  }

  private async repeat(node: Extract<Node, { kind: "repeat" }>): Promise<Value> {
    const { type, address, bits } = await this.value(node.operand);
    if (address === undefined || bits)
      throw this.error(node, "only values in memory can be extended with '@'");
    if (isUntyped(type)) this.refuseUntyped(node.operand);
    const { integer } = await this.number(node.count);
    if (integer < 1n || integer > 0xffffffffn)
      throw this.error(node.count, `there cannot be ${integer} of them`);
    return valueAt(new ArrayType(Number(integer), () => type), address);
  }
}

function isComparison(operator: BinaryOperator): boolean {
  return compare(operator, true, true) !== undefined;
}

function toAddress(bytes: Uint8Array): bigint {
  return numberOf(builtin.unsignedLong, bytes)!.integer;
}

/** The pointer behind a C++ reference. */
function referred(type: Type): PointerType | undefined {
  const plain = resolve(type);
  return plain.kind === "pointer" && plain.reference ? plain : undefined;
}

/** Bytes from one element to the next. */
function stride({ target }: PointerType): bigint {
  return BigInt(Math.max(1, sizeOf(target)));
}

/** Pointer plus and minus a number, and the distance and order of two pointers; undefined for two numbers. */
function pointerArithmetic(
  operator: Exclude<BinaryOperator, "&&" | "||">,
  left: NumberValue,
  right: NumberValue,
): NumberValue | string | undefined {
  const a = resolve(left.type);
  const b = resolve(right.type);
  if (a.kind !== "pointer" && b.kind !== "pointer") return undefined;
  if (left.float !== undefined || right.float !== undefined)
    return `'${operator}' is not for a pointer and a float`;
  const x = BigInt.asUintN(64, left.integer);
  const y = BigInt.asUintN(64, right.integer);
  const truth = compare(operator, x < y, x === y);
  if (truth !== undefined) return ofTruth(truth);
  const moved = (pointer: PointerType, type: Type, from: bigint, by: bigint): NumberValue => ({
    type,
    integer: BigInt.asUintN(64, from + by * stride(pointer)),
    float: undefined,
  });
  if (a.kind === "pointer" && b.kind === "pointer") {
    if (operator !== "-") return `'${operator}' is not for two pointers`;
    if (stride(a) !== stride(b)) return "the pointers lead to types of different size";
    return { type: builtin.long, integer: BigInt.asIntN(64, x - y) / stride(a), float: undefined };
  }
  if (operator === "+") {
    return a.kind === "pointer"
      ? moved(a, left.type, x, right.integer)
      : moved(b as PointerType, right.type, y, left.integer);
  }
  if (operator === "-" && a.kind === "pointer") return moved(a, left.type, x, -right.integer);
  // The kernel keeps flags in the low bits of pointers.
  return undefined;
}
