import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { NameList } from "../tables/name-list.js";
import { nearestNames } from "../tables/name-search.js";
import { builtin, builtinFloat, pointerTo } from "../types/builtin.js";
import { formatType } from "../types/name.js";
import { expressionError } from "../types/token.js";
import { ArrayType, isStruct, resolve, sizeOf, } from "../types/type.js";
import { printValue } from "../values/print.js";
import { holesWithin, integerValue, loadValue, optimizedOut, valueAt } from "../values/value.js";
import { binaryNumber, bytesOfNumber, compare, numberOf, ofTruth, promotedType, wrap, } from "./arithmetic.js";
import { registerPart } from "./registers.js";
/**
 * The value of an expression at an instant. What lies in memory is read only as far as the expression needs.
 *
 * @throws VmtapeError with `column` where it failed: `usage` for operands that do not fit, `not-found` for a name or
 *   member there is not, `not-mapped` (and `address`) where memory is missing
 */
export async function evaluate(expression, context) {
    return new Evaluator(expression.text, context).value(expression.root);
}
/**
 * Is the expression true: not zero?
 *
 * @throws as `evaluate`
 */
export async function evaluateTruth(expression, context) {
    const evaluator = new Evaluator(expression.text, context);
    return evaluator.truth(expression.root);
}
/**
 * The value of an expression as text, as GDB's `print` shows it.
 *
 * @throws as `evaluate`
 */
export async function printExpression(expression, context) {
    const evaluator = new Evaluator(expression.text, context);
    const value = await evaluator.value(expression.root);
    const { format = context.format } = expression;
    if (isUntyped(value.type))
        evaluator.refuseUntyped(expression.root);
    return evaluator.located(expression.root, () => printValue(value, { ...context, format }));
}
/** What a symbol is of which only the address is known. */
const untyped = { kind: "forward", of: "struct", name: "<data variable, no debug info>" };
function isUntyped(type) {
    return type === untyped;
}
/** Names like one that is not known. */
const mostHints = 3;
class Evaluator {
    text;
    context;
    constructor(text, context) {
        this.text = text;
        this.context = context;
    }
    async value(node) {
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
                if (isUntyped(type))
                    this.refuseUntyped(node.of);
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
    async truth(node) {
        const { integer, float } = await this.number(node);
        return float === undefined ? integer !== 0n : float !== 0;
    }
    /** Runs what reads memory for a node; errors tell where in the expression it is. */
    async located(node, run) {
        try {
            return await run();
        }
        catch (error) {
            if (!isVmtapeError(error) || error.facts.column !== undefined)
                throw error;
            const { column } = node;
            const message = `${error.message}, at column ${column} of '${this.text}'`;
            throw new VmtapeError(error.code, message, { ...error.facts, expression: this.text, column }, error);
        }
    }
    refuseUntyped(node) {
        const name = node.kind === "name" ? `'${node.name}'` : "it";
        throw this.error(node, `${name} has unknown type; cast it to its declared type`);
    }
    error(node, what, facts) {
        return expressionError(this.text, node.column, what, facts);
    }
    fromNumber(number) {
        return { type: number.type, bytes: bytesOfNumber(number, sizeOf(number.type)) };
    }
    fromTruth(truth) {
        return this.context.hasBool
            ? integerValue(builtin.bool, truth ? 1n : 0n)
            : this.fromNumber(ofTruth(truth));
    }
    async name(name, column) {
        const special = await this.context.special?.(name);
        if (special)
            return special;
        const { types } = this.context;
        const symbol = await this.context.symbol?.(name);
        if (symbol) {
            const type = symbol.type ?? types.findVariable(name)?.type ?? types.findFunction(name) ?? untyped;
            return valueAt(type, symbol.address);
        }
        const variable = types.findVariable(name);
        if (variable?.constant !== undefined)
            return integerValue(variable.type, variable.constant);
        if (variable?.isGone)
            return { type: variable.type, missing: optimizedOut };
        const enumerator = types.findEnumerator(name);
        if (enumerator)
            return integerValue(enumerator.type, enumerator.value);
        if (name === "true" || name === "false")
            return integerValue(builtin.bool, name === "true" ? 1n : 0n);
        const message = `no '${name}' is known, at column ${column} of '${this.text}'`;
        throw new VmtapeError("not-found", message, { expression: this.text, column, got: name });
    }
    async register(name, column) {
        const special = await this.context.special?.(name);
        if (special)
            return special;
        const part = registerPart(name.slice(1));
        const whole = part && (await this.context.register?.(part.whole));
        if (part && whole !== undefined)
            return integerValue(part.type, whole >> BigInt(part.shift));
        const message = `no register ${name} is known here, at column ${column} of '${this.text}'`;
        throw new VmtapeError("not-found", message, { expression: this.text, column, got: name });
    }
    /** A node as a number; arrays and functions as their addresses. */
    async number(node) {
        return this.asNumber(node, await this.value(node));
    }
    async asNumber(node, value) {
        if (isUntyped(value.type))
            this.refuseUntyped(node);
        const pointer = this.decayed(value);
        if (pointer)
            return { ...pointer, float: undefined };
        const bytes = await this.located(node, () => loadValue(value, this.context.memory));
        const type = referred(value.type);
        if (type)
            return this.asNumber(node, valueAt(type.target, wrap(type, toAddress(bytes))));
        const number = numberOf(value.type, bytes);
        if (!number)
            throw this.error(node, `a value of type ${formatType(value.type)} is no number`);
        return number;
    }
    /** What C uses in place of an array or function in memory: its address. */
    decayed({ type, address, }) {
        const plain = resolve(type);
        if (address === undefined)
            return undefined;
        if (plain.kind === "array")
            return { type: pointerTo(plain.element), integer: address };
        if (plain.kind === "function")
            return { type: pointerTo(type), integer: address };
        return undefined;
    }
    async unary(node) {
        const { operator, operand } = node;
        if (operator === "&")
            return this.addressOf(node);
        if (operator === "!")
            return this.fromTruth(!(await this.truth(operand)));
        const number = await this.number(operand);
        if (operator === "*")
            return this.dereference(node, number);
        const type = promotedType(number.type);
        if (number.float !== undefined) {
            if (operator === "~")
                throw this.error(node, "'~' is not for floating-point numbers");
            return this.fromNumber({ ...number, float: operator === "-" ? -number.float : number.float });
        }
        const { integer } = number;
        const result = operator === "-" ? -integer : operator === "~" ? ~integer : integer;
        return this.fromNumber({ type, integer: wrap(type, result), float: undefined });
    }
    dereference(node, { type, integer, float }) {
        const plain = resolve(type);
        if (plain.kind === "pointer") {
            if (resolve(plain.target).kind === "void") {
                throw this.error(node, "a pointer to void leads to no value: cast it to what is there");
            }
            return valueAt(this.whole(plain.target), integer);
        }
        // GDB takes a plain number for the address of a long.
        if (float !== undefined)
            throw this.error(node, `a value of type ${formatType(type)} is no address`);
        return valueAt(builtin.long, integer);
    }
    /** What one source only declares, another may know whole: a module's structure, another unit's. */
    whole(type) {
        const plain = resolve(type);
        if (plain.kind !== "forward" || isUntyped(plain))
            return type;
        return this.context.types.find(plain.of, plain.name) ?? type;
    }
    async addressOf(node) {
        const value = await this.value(node.operand);
        const reference = referred(value.type);
        if (reference) {
            // The address of what it refers to; it has none of its own.
            const bytes = await this.located(node.operand, () => loadValue(value, this.context.memory));
            return integerValue(pointerTo(reference.target), toAddress(bytes));
        }
        const { type, address, bits } = value;
        if (bits)
            throw this.error(node, "a bit field has no address");
        if (address === undefined)
            throw this.error(node, "the value is not in memory and has no address");
        return integerValue(pointerTo(type), address);
    }
    async binary(node) {
        const { operator, left, right } = node;
        if (operator === "&&" || operator === "||") {
            const first = await this.truth(left);
            const decided = operator === "&&" ? !first : first;
            return this.fromTruth(decided ? first : await this.truth(right));
        }
        const a = await this.number(left);
        const b = await this.number(right);
        const result = pointerArithmetic(operator, a, b) ?? binaryNumber(operator, a, b);
        if (typeof result === "string")
            throw this.error(node, result);
        return isComparison(operator) ? this.fromTruth(result.integer !== 0n) : this.fromNumber(result);
    }
    async cast(node) {
        const value = await this.value(node.operand);
        const plain = resolve(node.type);
        // What a symbol is that has no type, the cast says.
        if (isUntyped(value.type))
            return { ...value, type: node.type };
        if (plain.kind === "void")
            return { type: node.type, bytes: new Uint8Array(0) };
        if (isStruct(plain) || plain.kind === "array" || plain.kind === "function") {
            const isSame = resolve(value.type) === plain || (plain.kind === "array" && value.address !== undefined);
            if (isSame)
                return { ...value, type: node.type };
            throw this.error(node, `a value of type ${formatType(value.type)} cannot become a ${formatType(node.type)}`);
        }
        if (plain.kind === "forward")
            throw this.error(node, `nothing is known of ${formatType(node.type)}`);
        const number = await this.asNumber(node.operand, value);
        const { integer, float } = number;
        if (plain.kind === "float") {
            return this.fromNumber({ type: node.type, integer: 0n, float: float ?? Number(integer) });
        }
        const whole = float === undefined ? integer : Number.isFinite(float) ? BigInt(Math.trunc(float)) : 0n;
        return integerValue(node.type, wrap(node.type, whole));
    }
    async member(node) {
        let owner = await this.value(node.operand);
        if (isUntyped(owner.type))
            this.refuseUntyped(node.operand);
        let plain = resolve(owner.type);
        // GDB takes `.` and `->` for the same.
        if (plain.kind === "pointer") {
            const { integer } = await this.asPointer(node.operand, owner);
            owner = valueAt(this.whole(plain.target), integer);
            plain = resolve(owner.type);
        }
        if (!isStruct(plain)) {
            const what = formatType(owner.type);
            const why = plain.kind === "forward" ? `nothing is known of ${what}` : `a value of type ${what} has no members`;
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
        const { type, byteOffset, bitOffset = 0, bitSize } = place;
        const bits = bitSize === undefined ? undefined : { offset: bitOffset, size: bitSize };
        if (owner.address !== undefined) {
            return { type, address: BigInt.asUintN(64, owner.address + BigInt(byteOffset)), bits };
        }
        return this.piece(owner, type, byteOffset, bits);
    }
    async asPointer(node, value) {
        const bytes = await this.located(node, () => loadValue(value, this.context.memory));
        return { integer: toAddress(bytes) };
    }
    /** A part of something that is not in memory. */
    async piece(owner, type, offset, bits) {
        const whole = await loadValue(owner, this.context.memory);
        const length = bits ? Math.ceil((bits.offset + bits.size) / 8) : sizeOf(type);
        const part = whole.subarray(offset, offset + length);
        const holes = holesWithin(owner.holes ?? [], offset, length);
        if (holes.some(({ start, end }) => start <= 0 && end >= length))
            return { type, missing: holes[0].missing };
        if (!bits)
            return holes.length > 0 ? { type, bytes: part, holes } : { type, bytes: part };
        const own = { read: async (_at, length) => part.slice(0, length) };
        return { type, bytes: await loadValue({ type, address: 0n, bits }, own) };
    }
    async index(node) {
        const owner = await this.value(node.operand);
        const at = await this.number(node.index);
        if (at.float !== undefined)
            throw this.error(node.index, "an index is a whole number");
        const plain = resolve(owner.type);
        if (plain.kind === "array" && owner.address === undefined) {
            const size = sizeOf(plain.element);
            if (at.integer < 0n || at.integer >= BigInt(plain.count ?? 0)) {
                throw this.error(node.index, `the array has ${plain.count ?? 0} elements, none at ${at.integer}`);
            }
            return this.piece(owner, plain.element, Number(at.integer) * size, undefined);
        }
        const base = await this.asNumber(node.operand, owner);
        const pointer = resolve(base.type);
        if (pointer.kind !== "pointer") {
            throw this.error(node, `a value of type ${formatType(owner.type)} has no elements`);
        }
        return valueAt(this.whole(pointer.target), base.integer + at.integer * stride(pointer));
    }
    async repeat(node) {
        const { type, address, bits } = await this.value(node.operand);
        if (address === undefined || bits)
            throw this.error(node, "only values in memory can be extended with '@'");
        if (isUntyped(type))
            this.refuseUntyped(node.operand);
        const { integer } = await this.number(node.count);
        if (integer < 1n || integer > 0xffffffffn)
            throw this.error(node.count, `there cannot be ${integer} of them`);
        return valueAt(new ArrayType(Number(integer), () => type), address);
    }
}
function isComparison(operator) {
    return compare(operator, true, true) !== undefined;
}
function toAddress(bytes) {
    return numberOf(builtin.unsignedLong, bytes).integer;
}
/** The pointer behind a C++ reference. */
function referred(type) {
    const plain = resolve(type);
    return plain.kind === "pointer" && plain.reference ? plain : undefined;
}
/** Bytes from one element to the next. */
function stride({ target }) {
    return BigInt(Math.max(1, sizeOf(target)));
}
/** Pointer plus and minus a number, and the distance and order of two pointers; undefined for two numbers. */
function pointerArithmetic(operator, left, right) {
    const a = resolve(left.type);
    const b = resolve(right.type);
    if (a.kind !== "pointer" && b.kind !== "pointer")
        return undefined;
    if (left.float !== undefined || right.float !== undefined)
        return `'${operator}' is not for a pointer and a float`;
    const x = BigInt.asUintN(64, left.integer);
    const y = BigInt.asUintN(64, right.integer);
    const truth = compare(operator, x < y, x === y);
    if (truth !== undefined)
        return ofTruth(truth);
    const moved = (pointer, type, from, by) => ({
        type,
        integer: BigInt.asUintN(64, from + by * stride(pointer)),
        float: undefined,
    });
    if (a.kind === "pointer" && b.kind === "pointer") {
        if (operator !== "-")
            return `'${operator}' is not for two pointers`;
        if (stride(a) !== stride(b))
            return "the pointers lead to types of different size";
        return { type: builtin.long, integer: BigInt.asIntN(64, x - y) / stride(a), float: undefined };
    }
    if (operator === "+") {
        return a.kind === "pointer"
            ? moved(a, left.type, x, right.integer)
            : moved(b, right.type, y, left.integer);
    }
    if (operator === "-" && a.kind === "pointer")
        return moved(a, left.type, x, -right.integer);
    // The kernel keeps flags in the low bits of pointers.
    return undefined;
}
//# sourceMappingURL=evaluator.js.map