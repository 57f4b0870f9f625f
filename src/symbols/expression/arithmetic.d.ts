import { type Type } from "../types/type.js";
import type { BinaryOperator } from "./syntax.js";
/** A number with the C type it has: what arithmetic works on. Floats are in `float`, all others in `integer`. */
export interface NumberValue {
  readonly type: Type;
  readonly integer: bigint;
  readonly float: number | undefined;
}
/** A value's bytes as a number; undefined for what is none (a structure). */
export declare function numberOf(type: Type, bytes: Uint8Array): NumberValue | undefined;
/** As many bytes as the type has. */
export declare function bytesOfNumber({ type, integer, float }: NumberValue, size: number): Uint8Array;
/** The type in which two operands meet. */
export declare function commonType(left: Type, right: Type): Type;
/** `-x` and `~x` are of this type. */
export declare function promotedType(type: Type): Type;
/** A whole number as a value of this type has it: cut to its bits. */
export declare function wrap(type: Type, value: bigint): bigint;
/**
 * An operator between two numbers, with C's conversions.
 *
 * @returns a sentence when there is no result
 */
export declare function binaryNumber(
  operator: Exclude<BinaryOperator, "&&" | "||">,
  left: NumberValue,
  right: NumberValue,
): NumberValue | string;
/** The outcome of a comparison; undefined for other operators. Not a number is neither less nor equal. */
export declare function compare(operator: BinaryOperator, less: boolean, equal: boolean): boolean | undefined;
/** C has int for true and false. */
export declare function ofTruth(truth: boolean): NumberValue;
