import type { CfiRow } from "../../symbols/unwind/cfi-rows.js";
import type { UnwindFile } from "../names/stack-files.js";
import type { StackMemory } from "./memory.js";
import type { UnwindStep } from "./unwind-step.js";
/**
 * One step by call frame information.
 *
 * @returns false when it fails; `step.end` says why, or a page is missing
 */
export declare function stepByCfi(
  row: CfiRow,
  file: UnwindFile,
  step: UnwindStep,
  memory: StackMemory,
): boolean;
/** Whether a frame without tables is a signal's trampoline; then the step is taken. */
export declare function stepByTrampoline(step: UnwindStep, memory: StackMemory): boolean | undefined;
