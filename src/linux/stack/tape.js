import { VmtapeError } from "../../base/errors.js";
import { withSyncFile } from "../../base/sync-source.js";
import { openKernelImage } from "../../symbols/kernel/image.js";
import { readModules } from "../../symbols/kernel/modules.js";
import { readOrcImage, readOrcMemory } from "../../symbols/kernel/orc-image.js";
import { Symbols } from "../../symbols/names/symbols.js";
import { keyOf } from "../../symbols/tables/address.js";
import { currentTask } from "../guest/current-task.js";
import { presentMemory } from "../guest/present-memory.js";
import { guestPrograms, TaskPrograms } from "../names/stack-programs.js";
import { readMappings } from "../objects/mappings.js";
import { TaskReader } from "../objects/task.js";
import { StackWalker } from "./stack.js";
import { KernelUnwinding } from "./unwind-kernel.js";
/**
 * The stacks of a tape's guest at any of its instants: one object for all of them, as the tables of the kernel and the
 * programs are read once.
 */
export class TapeStacks {
    tape;
    symbols;
    programs;
    kernel;
    modules;
    /** @param symbols of the tape (`TapeSymbols.symbols`) */
    constructor(tape, symbols) {
        this.tape = tape;
        this.symbols = symbols;
        this.programs = guestPrograms(tape);
        this.modules = new ModuleNames();
    }
    /**
     * The stack of what runs where the machine stands.
     *
     * Cost: the first time 0.1 s to read the kernel's tables from the guest, then the mappings of the task and the pages of
     * the stack. What cannot be read there, mappings without BTF for one, costs frames, which are guessed or missing.
     *
     * @param registers a `g` packet
     * @param memory as the machine sees it now
     * @param guest its Linux; undefined while none runs
     */
    async walk(registers, memory, guest, options = {}) {
        const kernel = guest && (await this.kernelAt(guest));
        const present = guest ? presentMemory(guest) : memory;
        const task = guest && (await this.programsAt(guest, present));
        const nameOf = (address) => this.symbols.nameOf(address)?.name;
        const walker = new StackWalker({ kernel, files: task, nameOf, ...options });
        const stack = await walker.walk(registers, present);
        return {
            ...stack,
            locate: ({ callSite, pc, space }) => {
                const address = callSite ?? pc;
                if (space === "user" && task)
                    return task.lookup(address, this.symbols);
                return this.symbols.lookup(address) ?? this.modules.symbols.lookup(address);
            },
            fileOf: ({ callSite, pc, space }) => (space === "user" ? task?.nameAt(callSite ?? pc) : undefined),
            notes: () => this.programs.notes,
        };
    }
    async kernelAt(guest) {
        this.kernel ??= this.readKernel(guest);
        const kernel = await this.kernel;
        if (!kernel)
            return undefined;
        kernel.perCpu = await perCpuBase(guest);
        const modules = await this.modules.at(guest);
        if (modules)
            await kernel.setModules(guest.memory, modules);
        return kernel;
    }
    /** From memory, where they lie unpacked; else from the image. */
    async readKernel(guest) {
        const { slide } = guest.place;
        const live = await readOrcMemory(guest.memory, guest.kernel.symbols.table, slide);
        if (live)
            return new KernelUnwinding(live, 0n);
        const stored = orUndefined(() => withSyncFile(this.tape.layout.kernel, (source) => readOrcImage(openKernelImage(source, { whole: true }).elf)));
        return stored && new KernelUnwinding(stored, slide);
    }
    async programsAt(guest, memory) {
        try {
            const task = await new TaskReader(guest).at(await currentTask(guest));
            return new TaskPrograms(this.programs, await readMappings(guest, task), memory);
        }
        catch (error) {
            if (error instanceof VmtapeError)
                return undefined;
            throw error;
        }
    }
}
/** The modules of the latest instant that was looked at, and their names. */
class ModuleNames {
    symbols = new Symbols();
    key = "";
    /** Those loaded now; undefined when they are the same as before. */
    async at(guest) {
        const key = await this.keyAt(guest);
        if (key === this.key && key !== "")
            return undefined;
        this.key = key;
        const { table } = guest.kernel.symbols;
        const modules = (await readModules(guest.memory, { table, slide: guest.place.slide })) ?? [];
        this.symbols = new Symbols();
        for (const { name, table: names } of modules)
            this.symbols.add({ name: `module ${name}`, table: names });
        return modules;
    }
    /**
     * Changes when a module is loaded, which puts it in front of the list, or becomes live. One that is unloaded from the
     * middle of the list may stay known; no code of it runs any more.
     */
    async keyAt(guest) {
        const head = guest.findAddress("modules");
        const links = head === undefined ? undefined : await guest.memory.read(head, 16);
        if (!links)
            return "";
        const first = Buffer.from(links).readBigUInt64LE(0);
        const module = await guest.memory.read(first - moduleList, moduleHead);
        return `${Buffer.from(links).toString("hex")} ${module ? Buffer.from(module).toString("hex") : ""}`;
    }
}
/** `struct module`: state, list, name. Source: include/linux/module.h. */
const moduleList = 8n;
const moduleHead = 80;
async function perCpuBase(guest) {
    const table = guest.findAddress("__per_cpu_offset");
    const base = table === undefined ? undefined : await guest.words.u64(table);
    return base === undefined ? undefined : keyOf(base);
}
function orUndefined(read) {
    try {
        return read();
    }
    catch (error) {
        if (error instanceof VmtapeError)
            return undefined;
        throw error;
    }
}
//# sourceMappingURL=tape.js.map