import { isVmtapeError } from "../base/errors.js";
import type { ExpressionContext } from "../symbols/expression-evaluator.js";
import { linuxOf } from "./guest-view.js";
import type { OpenTimeline } from "./open-timeline.js";
import { note, say } from "./output.js";

/** An expression and its value at an instant. */
export interface PrintedValue {
  readonly expression: string;
  /** As GDB's `print` shows it. */
  readonly value: string;
}

/**
 * The values of expressions where a timeline stands.
 *
 * @throws VmtapeError that names the column: `usage`, `not-found`, `not-mapped`; see `evaluate`
 */
export async function printAt(open: OpenTimeline, texts: readonly string[]): Promise<PrintedValue[]> {
  const [{ parseExpression }, { printExpression }] = await Promise.all([
    import("../symbols/expression-parser.js"),
    import("../symbols/expression-evaluator.js"),
  ]);
  const context = await contextAt(open);
  const values: PrintedValue[] = [];
  for (const expression of texts) {
    const value = await printExpression(parseExpression(expression, context.types), context);
    values.push({ expression, value });
  }
  return values;
}

/** With what is known of the guest's Linux; of another system, and before it runs, registers and symbols only. */
async function contextAt(open: OpenTimeline): Promise<ExpressionContext> {
  const [{ expressionContext }, { plainContext }] = await Promise.all([
    import("../linux/expression-context.js"),
    import("../linux/plain-context.js"),
  ]);
  try {
    return expressionContext(await linuxOf(open), open.symbols.symbols);
  } catch (error) {
    if (!isVmtapeError(error, "not-found")) throw error;
    note(`only registers, symbols and memory can be printed: ${error.message}`);
    return plainContext(open.timeline, open.symbols.symbols);
  }
}

/** One line an expression: `current->comm = "sh", '\000' <repeats 13 times>`. */
export function sayValues(values: readonly PrintedValue[]): void {
  for (const { expression, value } of values) say(`${expression.replace(/^\s*\/[a-z]\s+/, "")} = ${value}`);
}
