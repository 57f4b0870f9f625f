import { guestAddress } from "../../base/units.js";
import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import { formatName } from "../../symbols/names/symbol-format.js";
import { Types } from "../../symbols/types/set.js";
/**
 * What names and addresses mean where a timeline stands, without an operating system that is known: registers, symbols,
 * memory as it is mapped, and the types of C itself.
 */
export async function plainContext(timeline, symbols) {
    const registers = new Uint8Array(await timeline.registers());
    return {
        types: new Types(),
        memory: {
            async read(address, length) {
                const bytes = await timeline.readMemory(guestAddress(address), length);
                return bytes?.length === length ? bytes : undefined;
            },
        },
        register: (name) => (x86Register(name) ? registerValue(registers, name) : undefined),
        symbol: (name) => {
            const found = symbols.find(name)[0];
            return found && { address: found.address };
        },
        nameOf: (address) => valueName(symbols, address),
    };
}
/** kallsyms states no sizes: what lies this far after a symbol is hardly part of it (string literals follow one). */
const farthest = 4096;
/** The name of what a pointer leads to; undefined after the end of the nearest symbol. */
export function valueName(symbols, address) {
    const located = symbols.lookup(address);
    return located && located.offset < (located.size ?? farthest) ? formatName(located) : undefined;
}
//# sourceMappingURL=plain-context.js.map