import { VmtapeError } from "../../base/errors.js";
import { type GuestMemory, MemoryReader } from "../../base/guest-memory.js";
import { type ElfFile, inFile, viewOf } from "../elf/elf.js";
import { addressOfKey, keyOf } from "../tables/address.js";
import type { SymbolTable } from "../tables/symbol-table.js";
import { OrcTable } from "../unwind/orc.js";
import { orcEntry, orcPlaceSize, orcSections, orcSymbols } from "../unwind/orc-layout.js";
import type { LoadedModule } from "./modules.js";

/** No kernel's tables are larger. */
const largestTable = 128 << 20;

/**
 * The ORC tables of a kernel from its ELF image, which must be whole (`KernelImageOptions.whole`), at link addresses.
 *
 * @returns undefined when it has none: no x86-64 kernel, or one that unwinds by frame pointers
 * @throws VmtapeError `bad-file` when they are damaged
 */
export function readOrcImage(elf: ElfFile): OrcTable | undefined {
  const places = elf.section(orcSections.places);
  const entries = elf.section(orcSections.entries);
  if (!places || !entries || places.size === 0) return undefined;
  for (const section of [places, entries]) {
    if (section.size > largestTable || !inFile(elf.source, section)) {
      throw new VmtapeError("bad-file", `${section.name} of ${elf.source.name} leaves the file`, {
        file: elf.source.name,
        offset: section.offset,
        size: section.size,
      });
    }
  }
  return OrcTable.read(elf.contents(places), keyOf(places.address), elf.contents(entries));
}

/**
 * The same from a running kernel's memory, at the addresses it runs at. Cost: one read of 4 and one of 6 MB.
 *
 * @param slide what KASLR added to the table's addresses
 * @returns undefined when it has none or they are not mapped
 */
export async function readOrcMemory(
  memory: GuestMemory,
  table: SymbolTable,
  slide: bigint,
): Promise<OrcTable | undefined> {
  const places = rangeOf(table, orcSymbols.places);
  const entries = rangeOf(table, orcSymbols.entries);
  if (!places || !entries) return undefined;
  const [first, second] = [
    await memory.read(places.start + slide, places.size),
    await memory.read(entries.start + slide, entries.size),
  ];
  return first && second ? orUndefined(first, keyOf(places.start + slide), second) : undefined;
}

function rangeOf(table: SymbolTable, [start, end]: readonly [string, string]) {
  const first = table.names.findLinked(start);
  const last = table.names.findLinked(end);
  if (first === undefined || last === undefined) return undefined;
  const size = table.starts[last]! - table.starts[first]!;
  return size > 0 && size <= largestTable ? { start: addressOfKey(table.starts[first]!), size } : undefined;
}

/**
 * `struct mod_arch_specific` (arch/x86/include/asm/module.h): u32 count, pointer to the places, pointer to the entries.
 * Where it is in `struct module` depends on the configuration: it is found by what it looks like.
 */
const moduleArch = { count: 0, places: 8, entries: 16, size: 24 } as const;
const searchedModule = 4096;
const mostModuleEntries = 1 << 20;

/**
 * The ORC tables of a loaded module from the guest's memory, which the kernel sorted when it loaded the module. Cost: 3
 * reads.
 *
 * @returns undefined when it has none that can be found
 */
export async function readOrcModule(
  memory: GuestMemory,
  module: Pick<LoadedModule, "address" | "regions">,
  dialect?: OrcTable["dialect"],
): Promise<OrcTable | undefined> {
  const structure = await new MemoryReader(memory).some(module.address, searchedModule);
  const view = viewOf(structure);
  const isInside = (start: bigint, size: number) =>
    module.regions.some((region) => start >= region.start && start + BigInt(size) <= region.end);
  for (let at = 0; at + moduleArch.size <= structure.length; at += 8) {
    const count = view.getUint32(at + moduleArch.count, true);
    if (count === 0 || count > mostModuleEntries || view.getUint32(at + moduleArch.count + 4, true) !== 0) {
      continue;
    }
    const places = view.getBigUint64(at + moduleArch.places, true);
    const entries = view.getBigUint64(at + moduleArch.entries, true);
    if (!isInside(places, count * orcPlaceSize) || !isInside(entries, count * orcEntry.size)) continue;
    const first = await memory.read(places, count * orcPlaceSize);
    const second = await memory.read(entries, count * orcEntry.size);
    const table = first && second && orUndefined(first, keyOf(places), second, dialect);
    if (table && isInside(addressOfKey(table.first), 1)) return table;
  }
  return undefined;
}

function orUndefined(...input: Parameters<typeof OrcTable.read>): OrcTable | undefined {
  try {
    return OrcTable.read(...input);
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}
