import { type TapeInstant } from "../names/tape-instant.js";
import { type NamedStack, TapeStacks } from "./tape.js";
/**
 * The stack of what runs where a timeline stands. Cost: see {@link TapeStacks.walk}.
 *
 * @param stacks of the tape, for who asks again
 */
export declare function stackAt(instant: TapeInstant, stacks?: TapeStacks): Promise<NamedStack>;
