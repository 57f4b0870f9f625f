import { guestAddress } from "../../base/units.js";
import { findLinux } from "../names/tape-instant.js";
import { TapeStacks } from "./tape.js";
/**
 * The stack of what runs where a timeline stands. Cost: see {@link TapeStacks.walk}.
 *
 * @param stacks of the tape, for who asks again
 */
export async function stackAt(instant, stacks) {
    const { tape, timeline, symbols } = instant;
    const memory = {
        async read(address, length) {
            const bytes = await timeline.readMemory(guestAddress(address), length);
            return bytes?.length === length ? bytes : undefined;
        },
    };
    const walker = stacks ?? new TapeStacks(tape, symbols.symbols);
    return walker.walk(new Uint8Array(await timeline.registers()), memory, await findLinux(instant));
}
//# sourceMappingURL=at.js.map