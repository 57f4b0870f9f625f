import type { Types } from "../types/set.js";
import { type Type } from "../types/type.js";
import { type PrintContext } from "../values/print.js";
import { type Value } from "../values/value.js";
import type { Expression } from "./syntax.js";

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
export declare function evaluate(expression: Expression, context: ExpressionContext): Promise<Value>;
/**
 * Is the expression true: not zero?
 *
 * @throws as `evaluate`
 */
export declare function evaluateTruth(expression: Expression, context: ExpressionContext): Promise<boolean>;
/**
 * The value of an expression as text, as GDB's `print` shows it.
 *
 * @throws as `evaluate`
 */
export declare function printExpression(expression: Expression, context: ExpressionContext): Promise<string>;
