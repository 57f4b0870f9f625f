import { builtin } from "../types/builtin.js";
import { resolve } from "../types/type.js";
import { bytesOf, toFloat, toInteger } from "../values/value.js";
/** A value's bytes as a number; undefined for what is none (a structure). */
export function numberOf(type, bytes) {
    const plain = resolve(type);
    switch (plain.kind) {
        case "float":
            return { type, integer: 0n, float: toFloat(bytes) };
        case "int":
        case "enum":
        case "pointer":
            return { type, integer: toInteger(plain, bytes), float: undefined };
        default:
            return undefined;
    }
}
/** As many bytes as the type has. */
export function bytesOfNumber({ type, integer, float }, size) {
    if (resolve(type).kind !== "float")
        return bytesOf(float === undefined ? integer : truncated(float), size);
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    const value = float ?? Number(integer);
    if (size === 4)
        view.setFloat32(0, value, true);
    else if (size === 8)
        view.setFloat64(0, value, true);
    return bytes;
}
function truncated(value) {
    return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}
/** C's promotion: what is smaller than int is int. */
function promoted(type) {
    const plain = resolve(type);
    const size = "size" in plain ? plain.size : 8;
    if (size < 4 || (plain.kind === "int" && plain.style === "bool"))
        return { size: 4, signed: true };
    return { size, signed: (plain.kind === "int" || plain.kind === "enum") && plain.signed };
}
function typeOf({ size, signed }) {
    if (size <= 4)
        return signed ? builtin.int : builtin.unsignedInt;
    if (size <= 8)
        return signed ? builtin.long : builtin.unsignedLong;
    return signed ? builtin.int128 : builtin.unsignedInt128;
}
/** The type in which two operands meet. */
export function commonType(left, right) {
    const a = promoted(left);
    const b = promoted(right);
    if (a.size === b.size)
        return typeOf({ size: a.size, signed: a.signed && b.signed });
    return typeOf(a.size > b.size ? a : b);
}
/** `-x` and `~x` are of this type. */
export function promotedType(type) {
    return resolve(type).kind === "float" ? type : typeOf(promoted(type));
}
/** A whole number as a value of this type has it: cut to its bits. */
export function wrap(type, value) {
    const plain = resolve(type);
    if (plain.kind === "int" && plain.style === "bool")
        return value === 0n ? 0n : 1n;
    const bits = ("size" in plain ? plain.size : 8) * 8;
    const signed = (plain.kind === "int" || plain.kind === "enum") && plain.signed;
    return signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}
/**
 * An operator between two numbers, with C's conversions.
 *
 * @returns a sentence when there is no result
 */
export function binaryNumber(operator, left, right) {
    if (left.float !== undefined || right.float !== undefined)
        return binaryFloat(operator, left, right);
    const isShift = operator === "<<" || operator === ">>";
    const type = isShift ? promotedType(left.type) : commonType(left.type, right.type);
    const a = wrap(type, left.integer);
    if (isShift) {
        // A count beyond the width gives what shifting bit by bit would.
        const count = right.integer < 0n || right.integer > 128n ? 128n : right.integer;
        return { type, integer: wrap(type, operator === "<<" ? a << count : a >> count), float: undefined };
    }
    const b = wrap(type, right.integer);
    const truth = compare(operator, a < b, a === b);
    if (truth !== undefined)
        return ofTruth(truth);
    if ((operator === "/" || operator === "%") && b === 0n)
        return "Division by zero";
    return { type, integer: wrap(type, compute(operator, a, b)), float: undefined };
}
function compute(operator, a, b) {
    switch (operator) {
        case "*":
            return a * b;
        case "/":
            return a / b;
        case "%":
            return a % b;
        case "+":
            return a + b;
        case "-":
            return a - b;
        case "&":
            return a & b;
        case "^":
            return a ^ b;
        default:
            return a | b;
    }
}
function binaryFloat(operator, left, right) {
    const a = left.float ?? Number(left.integer);
    const b = right.float ?? Number(right.integer);
    const truth = compare(operator, a < b, a === b);
    if (truth !== undefined)
        return ofTruth(truth);
    const value = computeFloat(operator, a, b);
    if (value === undefined)
        return `'${operator}' is not for floating-point numbers`;
    return { type: floatType(left, right), integer: 0n, float: value };
}
/** The larger of two floats' types; a whole number takes the other's, as GDB has it. */
function floatType(left, right) {
    const a = resolve(left.type);
    const b = resolve(right.type);
    if (a.kind !== "float")
        return right.type;
    return b.kind === "float" && b.size > a.size ? right.type : left.type;
}
function computeFloat(operator, a, b) {
    switch (operator) {
        case "*":
            return a * b;
        case "/":
            return a / b;
        case "+":
            return a + b;
        case "-":
            return a - b;
        default:
            return undefined;
    }
}
/** The outcome of a comparison; undefined for other operators. Not a number is neither less nor equal. */
export function compare(operator, less, equal) {
    switch (operator) {
        case "<":
            return less;
        case "<=":
            return less || equal;
        case ">":
            return !less && !equal;
        case ">=":
            return !less;
        case "==":
            return equal;
        case "!=":
            return !equal;
        default:
            return undefined;
    }
}
/** C has int for true and false. */
export function ofTruth(truth) {
    return { type: builtin.int, integer: truth ? 1n : 0n, float: undefined };
}
//# sourceMappingURL=arithmetic.js.map