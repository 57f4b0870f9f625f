import { type AgentOp, agentLimits } from "../../formats/agent-opcodes.js";
import { builtin, pointerTo } from "../types/builtin.js";
import type { Types } from "../types/set.js";
import { isStruct, type PointerType, resolve, sizeOf, type Type } from "../types/type.js";
import { toInteger, type Value } from "../values/value.js";
import { commonType, promotedType } from "./arithmetic.js";
import { Assembler } from "./assembler.js";
import type { ExpressionSymbol } from "./evaluator.js";
import { registerPart } from "./registers.js";
import type { BinaryOperator, Expression, Node } from "./syntax.js";

type Eventually<T> = T | Promise<T>;

/** What names mean, as far as it holds at every hit. */
export interface CompileContext {
  readonly types: Types;
  /** A whole register's number in the machine's `g` block: rax 0 … r15 15, rip 16, eflags 17. */
  readonly register: (name: string) => number | undefined;
  readonly symbol?: ((name: string) => Eventually<ExpressionSymbol | undefined>) | undefined;
  /** A name whose place in memory, or whose value, is the same at every hit: `current`, a per-CPU variable. */
  readonly special?: ((name: string) => Eventually<Value | undefined>) | undefined;
}

/** Counts and facts of a hit, by the names expressions have for them. */
const facts: ReadonlyMap<string, AgentOp> = new Map<string, AgentOp>([
  ["$icount", "icount"],
  ["$brctr", "brctr"],
  ["$hit", "hit"],
  ["$address", "address"],
  ["$length", "length"],
  ["$write", "write"],
]);

/**
 * Translates an expression to a GDB agent expression, which QEMU's plugin evaluates at each hit without stopping the
 * machine: whole numbers, registers, symbols, members, dereferences, `$icount`, `$brctr`, `$hit`. The result is what
 * `evaluate` would give, as 64 bits.
 *
 * @returns undefined for what has no translation (floats, strings, whole structures, names that are not known): such
 *   an expression has to be evaluated at each hit by `evaluate`, which also tells what is wrong with it
 */
export async function compileExpression(
  expression: Expression,
  context: CompileContext,
): Promise<Uint8Array | undefined> {
  const compiler = new Compiler(context);
  try {
    await compiler.value(expression.root);
  } catch (error) {
    if (error instanceof Untranslatable) return undefined;
    throw error;
  }
  const bytes = compiler.code.bytes();
  return bytes.length <= agentLimits.bytes ? bytes : undefined;
}

/** Ends a translation; never leaves this file. */
class Untranslatable extends Error {}

/** Something in memory whose address stands on the stack. */
interface Place {
  readonly type: Type;
  readonly bits?: { readonly offset: number; readonly size: number } | undefined;
}

const maxExpressionBits = 64;

/**
 * Writes code that leaves one number on the stack: of a signed type extended to 64 bits with its sign, of others with
 * zeros.
 */
class Compiler {
  readonly code = new Assembler();

  constructor(private readonly context: CompileContext) {}

  /** Pushes the value of a node; arrays and functions as their addresses. Gives its type. */
  async value(node: Node): Promise<Type> {
    const place = await this.place(node);
    if (place) return this.load(place);
    switch (node.kind) {
      case "integer":
        this.code.constant(node.value);
        return node.type;
      case "register":
        return this.register(node.name);
      case "name":
        return this.constantName(node.name);
      case "size":
        return this.size(node.of);
      case "cast": {
        const type = resolve(node.type);
        if (type.kind !== "int" && type.kind !== "enum" && type.kind !== "pointer")
          throw new Untranslatable();
        await this.value(node.operand);
        if (type.kind === "int" && type.style === "bool") this.truth();
        else this.fit(node.type);
        return node.type;
      }
      case "unary":
        return this.unary(node);
      case "binary":
        return this.binary(node);
      case "conditional":
        return this.conditional(node);
      default:
        throw new Untranslatable();
    }
  }

  /** Pushes the address of what a node stands for; undefined, and nothing pushed, when it has none. */
  private async place(node: Node): Promise<Place | undefined> {
    switch (node.kind) {
      case "name":
        return this.namedPlace(node.name);
      case "register": {
        const special = await this.context.special?.(node.name);
        return special && this.specialPlace(special);
      }
      case "at":
        await this.value(node.operand);
        return { type: node.type };
      case "unary": {
        if (node.operator !== "*") return undefined;
        const type = resolve(await this.value(node.operand));
        return { type: type.kind === "pointer" ? type.target : builtin.long };
      }
      case "cast":
        return this.castPlace(node);
      case "member": {
        const owner = await this.owner(node.operand);
        const found = owner.findMember(node.name);
        if (!found) throw new Untranslatable();
        const { type, byteOffset, bitOffset = 0, bitSize } = found;
        this.addConstant(BigInt(byteOffset));
        return { type, bits: bitSize === undefined ? undefined : { offset: bitOffset, size: bitSize } };
      }
      case "index": {
        const pointer = resolve(await this.value(node.operand));
        if (pointer.kind !== "pointer") throw new Untranslatable();
        await this.value(node.index);
        this.addScaled(pointer);
        return { type: pointer.target };
      }
      default:
        return undefined;
    }
  }

  private async namedPlace(name: string): Promise<Place | undefined> {
    const special = await this.context.special?.(name);
    if (special) return this.specialPlace(special);
    const symbol = await this.context.symbol?.(name);
    if (!symbol) return undefined;
    const { types } = this.context;
    const type = symbol.type ?? types.findVariable(name)?.type ?? types.findFunction(name);
    if (!type) throw new Untranslatable();
    this.code.constant(symbol.address);
    return { type };
  }

  private specialPlace({ type, address, bits }: Value): Place | undefined {
    if (address === undefined) return undefined;
    this.code.constant(address);
    return { type, bits };
  }

  /** A cast of a symbol without a type says what it is. */
  private async castPlace(node: Extract<Node, { kind: "cast" }>): Promise<Place | undefined> {
    const { operand, type } = node;
    if (operand.kind !== "name" || (await this.context.special?.(operand.name))) return undefined;
    const { types } = this.context;
    const symbol = await this.context.symbol?.(operand.name);
    const isTyped = symbol?.type ?? types.findVariable(operand.name) ?? types.findFunction(operand.name);
    if (!symbol || isTyped) return undefined;
    this.code.constant(symbol.address);
    return { type };
  }

  /** Pushes the address of a structure, behind a pointer or itself. */
  private async owner(node: Node) {
    const place = await this.place(node);
    const type = place ? resolve(place.type) : resolve(await this.value(node));
    if (isStruct(type) && place) return type;
    if (type.kind !== "pointer") throw new Untranslatable();
    if (place) this.load(place);
    const target = resolve(type.target);
    if (!isStruct(target)) throw new Untranslatable();
    return target;
  }

  /** Replaces an address on the stack by the value there. */
  private load({ type, bits }: Place): Type {
    const plain = resolve(type);
    if (plain.kind === "array") return pointerTo(plain.element);
    if (plain.kind === "function") return pointerTo(type);
    if (plain.kind !== "int" && plain.kind !== "enum" && plain.kind !== "pointer") throw new Untranslatable();
    if (plain.kind === "pointer" && plain.reference) throw new Untranslatable();
    if (bits) {
      const end = bits.offset + bits.size;
      if (end > maxExpressionBits) throw new Untranslatable();
      this.code.op(end <= 8 ? "ref8" : end <= 16 ? "ref16" : end <= 32 ? "ref32" : "ref64");
      if (bits.offset > 0) {
        this.code.constant(BigInt(bits.offset));
        this.code.op("rsh_unsigned");
      }
      this.extend(type, bits.size);
      return type;
    }
    const names: Readonly<Record<number, AgentOp>> = { 1: "ref8", 2: "ref16", 4: "ref32", 8: "ref64" };
    const name = names[plain.size];
    if (!name) throw new Untranslatable();
    this.code.op(name);
    this.fit(type);
    return type;
  }

  /** Makes the top what a value of this type is in 64 bits. */
  private fit(type: Type): void {
    this.extend(type, sizeOf(type) * 8);
  }

  private extend(type: Type, bits: number): void {
    const plain = resolve(type);
    if (bits > maxExpressionBits) throw new Untranslatable();
    if ((plain.kind === "int" || plain.kind === "enum") && plain.signed) this.code.signExtend(bits);
    else this.code.zeroExtend(bits);
  }

  private truth(): void {
    this.code.op("log_not");
    this.code.op("log_not");
  }

  private async register(name: string): Promise<Type> {
    const special = await this.context.special?.(name);
    if (special) return this.constantValue(special);
    const fact = facts.get(name);
    if (fact) {
      this.code.op(fact);
      return builtin.unsignedLong;
    }
    const part = registerPart(name.slice(1));
    const number = part && this.context.register(part.whole);
    if (!part || number === undefined) throw new Untranslatable();
    this.code.register(number);
    if (part.shift > 0) {
      this.code.constant(BigInt(part.shift));
      this.code.op("rsh_unsigned");
    }
    this.fit(part.type);
    return part.type;
  }

  private async constantName(name: string): Promise<Type> {
    const special = await this.context.special?.(name);
    if (special) return this.constantValue(special);
    const enumerator = this.context.types.findEnumerator(name);
    if (!enumerator && name !== "true" && name !== "false") throw new Untranslatable();
    this.code.constant(enumerator?.value ?? (name === "true" ? 1n : 0n));
    return enumerator?.type ?? builtin.bool;
  }

  private constantValue({ type, bytes }: Value): Type {
    const { kind } = resolve(type);
    if (!bytes || bytes.length > 8) throw new Untranslatable();
    if (kind !== "int" && kind !== "enum" && kind !== "pointer") throw new Untranslatable();
    this.code.constant(toInteger(type, bytes));
    return type;
  }

  private async size(of: Type | Node): Promise<Type> {
    let type: Type;
    if ("column" in of) {
      // The code is only written to learn the type.
      const start = this.code.length;
      type = (await this.place(of))?.type ?? (await this.value(of));
      this.code.cut(start);
    } else type = of;
    this.code.constant(BigInt(sizeOf(type)));
    return builtin.unsignedLong;
  }

  private async unary({ operator, operand }: Extract<Node, { kind: "unary" }>): Promise<Type> {
    if (operator === "&") {
      const place = await this.place(operand);
      if (!place || place.bits) throw new Untranslatable();
      return pointerTo(place.type);
    }
    if (operator === "-") this.code.constant(0n);
    const type = await this.value(operand);
    if (operator === "!") {
      this.code.op("log_not");
      return builtin.int;
    }
    const result = promotedType(type);
    if (operator === "-") this.code.op("sub");
    if (operator === "~") this.code.op("bit_not");
    this.fit(result);
    return result;
  }

  private async conditional(node: Extract<Node, { kind: "conditional" }>): Promise<Type> {
    await this.value(node.test);
    const toThen = this.code.jump("if_goto");
    const otherwise = await this.value(node.otherwise);
    const toEnd = this.code.jump("goto");
    this.code.land(toThen);
    const then = await this.value(node.then);
    this.code.land(toEnd);
    // Each branch has left the number its own type makes of it; only one type can be told.
    if (sizeOf(then) !== sizeOf(otherwise) || isSigned(then) !== isSigned(otherwise))
      throw new Untranslatable();
    return then;
  }

  private async binary(node: Extract<Node, { kind: "binary" }>): Promise<Type> {
    const { operator, left, right } = node;
    if (operator === "&&" || operator === "||") return this.logic(operator, left, right);
    const start = this.code.length;
    const a = await this.value(left);
    const b = await this.value(right);
    const pointers = this.pointers(operator, a, b);
    if (pointers) return pointers;
    const shift = operator === "<<" || operator === ">>";
    const type = shift ? promotedType(a) : commonType(a, b);
    if (sizeOf(type) > 8) throw new Untranslatable();
    // An operand that changes with its type is written again, as that type.
    if (!shift && (changes(a, type) || changes(b, type))) {
      this.code.cut(start);
      await this.value(left);
      this.fit(type);
      await this.value(right);
      this.fit(type);
    }
    return this.operate(operator, type);
  }

  /** The operator between two numbers of one type; the result fits that type. */
  private operate(operator: BinaryOperator, type: Type): Type {
    const signed = isSigned(type);
    if (this.comparison(operator, signed)) return builtin.int;
    const pick = (whenSigned: AgentOp, other: AgentOp) => this.code.op(signed ? whenSigned : other);
    switch (operator) {
      case "+":
        this.code.op("add");
        break;
      case "-":
        this.code.op("sub");
        break;
      case "*":
        this.code.op("mul");
        break;
      case "/":
        pick("div_signed", "div_unsigned");
        break;
      case "%":
        pick("rem_signed", "rem_unsigned");
        break;
      case "<<":
        this.code.op("lsh");
        break;
      case ">>":
        pick("rsh_signed", "rsh_unsigned");
        break;
      case "&":
        this.code.op("bit_and");
        break;
      case "^":
        this.code.op("bit_xor");
        break;
      default:
        this.code.op("bit_or");
    }
    this.fit(type);
    return type;
  }

  /** Writes a comparison; false when the operator is none. */
  private comparison(operator: BinaryOperator, signed: boolean): boolean {
    const less: AgentOp = signed ? "less_signed" : "less_unsigned";
    const steps: Partial<Record<BinaryOperator, readonly AgentOp[]>> = {
      "==": ["equal"],
      "!=": ["equal", "log_not"],
      "<": [less],
      ">=": [less, "log_not"],
      ">": ["swap", less],
      "<=": ["swap", less, "log_not"],
    };
    for (const step of steps[operator] ?? []) this.code.op(step);
    return steps[operator] !== undefined;
  }

  private async logic(operator: "&&" | "||", left: Node, right: Node): Promise<Type> {
    await this.value(left);
    if (operator === "&&") this.code.op("log_not");
    const decided = this.code.jump("if_goto");
    await this.value(right);
    this.truth();
    const toEnd = this.code.jump("goto");
    this.code.land(decided);
    this.code.constant(operator === "&&" ? 0n : 1n);
    this.code.land(toEnd);
    return builtin.int;
  }

  /** Two operands of which one is a pointer, both on the stack; undefined when they are plain numbers. */
  private pointers(operator: BinaryOperator, left: Type, right: Type): Type | undefined {
    const a = resolve(left);
    const b = resolve(right);
    if (a.kind !== "pointer" && b.kind !== "pointer") return undefined;
    if (this.comparison(operator, false)) return builtin.int;
    if (a.kind === "pointer" && b.kind === "pointer") {
      if (operator !== "-" || stride(a) !== stride(b)) throw new Untranslatable();
      this.code.op("sub");
      this.code.constant(stride(a));
      this.code.op("div_signed");
      return builtin.long;
    }
    if (operator === "+") {
      if (a.kind !== "pointer") this.code.op("swap");
      this.addScaled(a.kind === "pointer" ? a : (b as PointerType));
      return a.kind === "pointer" ? left : right;
    }
    if (operator === "-" && a.kind === "pointer") {
      this.code.constant(stride(a));
      this.code.op("mul");
      this.code.op("sub");
      return left;
    }
    // Flags in the low bits of a pointer.
    return undefined;
  }

  /** Adds an index on top of a pointer to it. */
  private addScaled(pointer: PointerType): void {
    const step = stride(pointer);
    if (step !== 1n) {
      this.code.constant(step);
      this.code.op("mul");
    }
    this.code.op("add");
  }

  private addConstant(value: bigint): void {
    if (value === 0n) return;
    this.code.constant(value);
    this.code.op("add");
  }
}

function stride({ target }: PointerType): bigint {
  return BigInt(Math.max(1, sizeOf(target)));
}

function isSigned(type: Type): boolean {
  const plain = resolve(type);
  return (plain.kind === "int" || plain.kind === "enum") && plain.signed;
}

/** Does a number look different in 64 bits once it is of the other type: a negative int as unsigned? */
function changes(from: Type, to: Type): boolean {
  return isSigned(from) && !isSigned(to) && sizeOf(to) < 8;
}
