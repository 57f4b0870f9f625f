import type { StackMemory } from "./memory.js";
import { type IsCode } from "./unwind-guess.js";
import type { UnwindStep } from "./unwind-step.js";
/**
 * One step out of a retpoline, by which a kernel makes its indirect calls: of these instructions its tables say that they
 * cannot tell, or that a stack begins. The first calls past a trap; the second puts the function to go to in place of that
 * call's return address; the third returns to it.
 *
 * @returns false when the frame is none, or a page is missing
 */
export declare function stepByThunk(step: UnwindStep, memory: StackMemory, isCode: IsCode): boolean;
/**
 * Whether the frame is about to return to where no call was: to the function that a retpoline goes to, or to where a new
 * task begins. Nothing there has run yet.
 */
export declare function returnsToStart(step: UnwindStep, memory: StackMemory, isCode: IsCode): boolean;
