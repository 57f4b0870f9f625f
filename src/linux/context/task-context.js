import { firstKernelAddress } from "../../base/units.js";
import { Types } from "../../symbols/types/set.js";
import { taskPrograms } from "../names/program-debug.js";
import { expressionContext } from "./expression-context.js";
import { valueName } from "./plain-context.js";
/**
 * The same names where a program runs: its own, and those of the libraries it has mapped, before the kernel's. What the
 * program itself declares is known in its libraries' code, too, as GDB has it. Programs that other tasks run are none of its.
 *
 * @param others all symbols of the tape
 */
async function taskContext(context, task, debug, others) {
    await task.openAll();
    const main = await mainProgram(task, debug);
    return {
        ...context,
        types: main ? new Types(main.types, context.types) : context.types,
        symbol: async (name) => {
            const variable = main?.types.findVariable(name);
            if (main && variable?.address !== undefined) {
                return { type: variable.type, address: BigInt.asUintN(64, variable.address + main.bias) };
            }
            const [own] = task.names.find(name);
            if (own)
                return { type: variable?.type, address: own.address };
            const found = others.find(name).find(({ address, source, prefix }) => {
                return (address >= firstKernelAddress || source === kernelSource || task.mayBe({ source, prefix }, address));
            });
            if (!found)
                return undefined;
            return found.address >= firstKernelAddress || found.source === kernelSource
                ? context.symbol?.(name)
                : { address: found.address };
        },
        nameOf: (address) => {
            if (address >= firstKernelAddress)
                return context.nameOf?.(address);
            const own = valueName(task.names, address);
            if (own !== undefined)
                return own;
            const found = others.lookup(address);
            return found && task.mayBe(found, address) ? valueName(others, address) : undefined;
        },
    };
}
/**
 * What names mean where a guest stands at `pc`: the kernel's, and before them those of the program that runs, if one does.
 *
 * @param symbols all that are known of the tape
 */
export async function presentContext(tape, guest, pc, symbols, debug) {
    const context = expressionContext(guest, symbols);
    const task = pc < firstKernelAddress ? await taskPrograms(tape, guest, context.memory) : undefined;
    return { context: task ? await taskContext(context, task, debug, symbols) : context, task };
}
/** What `TapeSymbols` calls the kernel's own symbols, per-CPU variables at small addresses among them. */
const kernelSource = "kernel";
/** The program that the task was started with, not a library: where it is position-independent it is mapped lowest, too. */
async function mainProgram(task, debug) {
    const [file] = task.opened;
    return file && debug.at(file.start, task);
}
//# sourceMappingURL=task-context.js.map