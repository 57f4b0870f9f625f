import type { GuestMemory } from "../../base/guest-memory.js";
import type { VariableFrame } from "../../symbols/dwarf/location.js";
import type { ExpressionContext } from "../../symbols/expression/evaluator.js";
import type { ProgramDebug } from "../names/program-debug.js";
import type { FileAt } from "../names/stack-files.js";
import type { Stack } from "../stack/frame.js";
/** A frame as its variables are found in it. */
export interface FrameAt extends Pick<VariableFrame, "register" | "cfa"> {
  readonly pc: bigint;
  /** The frame that called it, and goes on at its `pc`. */
  readonly caller: FrameAt | undefined;
}
/**
 * The same names, and before them those of a program's debug information: the frame's parameters and variables, then
 * the program's own.
 *
 * @param frame found when the first variable is asked for that depends on it
 * @param isKernel the program is the kernel: its BTF says of types what DWARF does, and is at hand
 */
export declare function frameContext(
  context: ExpressionContext,
  { types, variables, bias }: ProgramDebug,
  frame: () => Promise<FrameAt>,
  isKernel: boolean,
): ExpressionContext;
/**
 * The innermost frame of a machine that stands still.
 *
 * @param registers its `g` packet
 * @param stack its stack, when it was walked; otherwise found with the frame information of `files`
 */
export declare function innermostFrame(
  registers: Uint8Array,
  memory: GuestMemory,
  stack: Stack | undefined,
  files: FileAt,
): Promise<FrameAt>;
