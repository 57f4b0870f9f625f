import type { ExpressionContext } from "../../symbols/expression/evaluator.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { Tape } from "../../tape/tape.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { type TapeDebug } from "../names/program-debug.js";
import type { TaskPrograms } from "../names/stack-programs.js";
/**
 * What names mean where a guest stands at `pc`: the kernel's, and before them those of the program that runs, if one does.
 *
 * @param symbols all that are known of the tape
 */
export declare function presentContext(
  tape: Tape,
  guest: LinuxGuest,
  pc: bigint,
  symbols: Symbols,
  debug: TapeDebug,
): Promise<{
  readonly context: ExpressionContext;
  readonly task: TaskPrograms | undefined;
}>;
