import { VmtapeError } from "../../base/errors.js";
import { type ExpressionContext } from "../../symbols/expression/evaluator.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { TapeDebug } from "../names/program-debug.js";
import type { TapeInstant } from "../names/tape-instant.js";
/** An expression and its value at an instant, or why it has none. */
export interface PrintedValue {
  readonly expression: string;
  /** As GDB's `print` shows it. */
  readonly value: string | undefined;
  readonly error: VmtapeError | undefined;
}
/**
 * The values of expressions where a timeline stands, with the locals of the code that runs there. One that fails does
 * not keep the others from being told.
 *
 * @param guest its Linux; undefined where none runs
 * @param notes gets what could not be used of debug information, in words for people
 */
export declare function printAt(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  texts: readonly string[],
  notes?: Set<string>,
): Promise<PrintedValue[]>;
/**
 * What names mean where a timeline stands: with the guest's Linux, when it runs, and the debug information of the
 * code, when there is.
 */
export declare function contextAt(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  debug: TapeDebug,
): Promise<ExpressionContext>;
