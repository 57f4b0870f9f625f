import { guestAddress } from "../../base/units.js";
import { findLinux, type TapeInstant } from "../names/tape-instant.js";
import { type NamedStack, TapeStacks } from "./tape.js";

/**
 * The stack of what runs where a timeline stands. Cost: see {@link TapeStacks.walk}.
 *
 * @param stacks of the tape, for who asks again
 */
export async function stackAt(instant: TapeInstant, stacks?: TapeStacks): Promise<NamedStack> {
  const { tape, timeline, symbols } = instant;
  const memory = {
    async read(address: bigint, length: number) {
      const bytes = await timeline.readMemory(guestAddress(address), length);
      return bytes?.length === length ? bytes : undefined;
    },
  };
  const walker = stacks ?? new TapeStacks(tape, symbols.symbols);
  return walker.walk(new Uint8Array(await timeline.registers()), memory, await findLinux(instant));
}
