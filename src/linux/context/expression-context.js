import { pointerTo } from "../../symbols/types/builtin.js";
import { Types } from "../../symbols/types/set.js";
import { integerValue } from "../../symbols/values/value.js";
import { currentTask, perCpu } from "../guest/current-task.js";
import { presentMemory } from "../guest/present-memory.js";
import { valueName } from "./plain-context.js";
/** Variables whose type BTF does not tell, as it knows per-CPU ones only. */
const structOf = {
    init_task: "task_struct",
    init_mm: "mm_struct",
    init_cred: "cred",
    init_nsproxy: "nsproxy",
    init_net: "net",
};
/**
 * What names and addresses mean where a Linux guest stands: its types, its symbols (per-CPU variables at the place of
 * the one CPU), its registers, and `current`, which alone cannot be told without BTF.
 *
 * @param symbols all that are known, at their addresses in the guest
 */
export function expressionContext(guest, symbols) {
    const types = guest.kernel.types ?? new Types(); // without BTF, registers and C's own types go on
    return {
        types,
        memory: presentMemory(guest),
        register: (name) => guest.stopped.register(name),
        symbol: async (name) => {
            const variable = types.findVariable(name);
            const found = symbols.find(name)[0];
            if (!found)
                return undefined;
            const type = variable?.type ?? (structOf[name] ? types.findStruct(structOf[name]) : undefined);
            const address = variable ? await perCpu(guest, found.address) : found.address;
            return { address, type };
        },
        special: async (name) => name === "current"
            ? integerValue(pointerTo(guest.types.struct("task_struct")), await currentTask(guest))
            : undefined,
        nameOf: (address) => valueName(symbols, address),
    };
}
//# sourceMappingURL=expression-context.js.map