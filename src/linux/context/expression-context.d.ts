import type { ExpressionContext } from "../../symbols/expression/evaluator.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
/**
 * What names and addresses mean where a Linux guest stands: its types, its symbols (per-CPU variables at the place of
 * the one CPU), its registers, and `current`, which alone cannot be told without BTF.
 *
 * @param symbols all that are known, at their addresses in the guest
 */
export declare function expressionContext(guest: LinuxGuest, symbols: Symbols): ExpressionContext;
