import { type GuestMemory, MemoryReader } from "../../base/guest-memory.js";
import { stringAt, viewOf } from "../elf/elf.js";
import { chooseLikeGdb } from "../elf/gdb-choice.js";
import { layout64 } from "../elf/layout.js";
import { addressOfKey, keyOf } from "../tables/address.js";
import { NameList } from "../tables/name-list.js";
import type { Region, SymbolTable } from "../tables/symbol-table.js";

/**
 * The parts of `struct module` that are the same in every 64-bit Linux from 5.2 to 6.12 (include/linux/module.h).
 * What follows the name depends on the configuration and is found by what it looks like.
 *
 * - `kallsyms` points to a `struct mod_kallsyms`; the next member is one, `core_kallsyms`, and once the module
 *   is live the pointer points to that: a word that holds the address of the word after it.
 * - memory: pairs of a page-aligned base and a u32 size (`core_layout` up to 6.3, `mem[]` from 6.4).
 */
const structModule = { state: 0, list: 8, name: 24, nameSize: 56, searched: 4096 } as const;
/** `struct mod_kallsyms`: symtab, num_symtab, strtab, typetab. */
const modKallsyms = { symtab: 0, count: 8, strtab: 16, typetab: 24, size: 32 } as const;
const states = ["live", "coming", "going", "unformed"] as const;

const mostModules = 4096;
const mostSymbols = 1 << 18;
const largestRegion = 256 << 20;
const largestStrings = 32 << 20;
const kernelHalf = 0xffff_0000_0000_0000n;
const pageMask = 4095n;

/**
 * A module as the kernel's own list had it at one instant. Letters of exported symbols are not made upper case, as
 * /proc/kallsyms does with them.
 */
export interface LoadedModule {
  readonly name: string;
  readonly state: (typeof states)[number];
  /** Address of its `struct module`. */
  readonly address: bigint;
  /** Its memory, ascending; addresses as they are in the guest. */
  readonly regions: readonly { readonly start: bigint; readonly end: bigint }[];
  /** Its symbols at their addresses in the guest: no bias to add. Empty when its symbol table was not found. */
  readonly table: SymbolTable;
}

/** What `readModules` needs of the kernel: where `modules` is. */
export interface ModulesOfKernel {
  readonly table: SymbolTable;
  /** What KASLR added to the kernel's addresses. */
  readonly slide: bigint;
}

/**
 * The modules loaded at an instant, with the symbols the kernel keeps for them; what /proc/modules and the lines
 * of modules in /proc/kallsyms would say. Needs neither BTF nor the .ko files.
 *
 * Cost: about 8 reads of memory a module, 30 kB each.
 *
 * @returns undefined when the kernel has no list of modules that can be found: no symbol `modules`
 *   (CONFIG_MODULES or CONFIG_KALLSYMS_ALL off), not a 64-bit kernel, or memory not mapped at this instant
 */
export async function readModules(
  memory: GuestMemory,
  kernel: ModulesOfKernel,
): Promise<LoadedModule[] | undefined> {
  const reader = new MemoryReader(memory);
  const { names } = kernel.table;
  for (const index of new Set([...names.find("modules"), names.findLinked("modules") ?? []].flat())) {
    const head = addressOfKey(kernel.table.starts[index]!) + kernel.slide;
    const found = await walkList(reader, head);
    if (found) return found;
  }
  return undefined;
}

/** Follows the list from its head; undefined when it is no list of modules. */
async function walkList(reader: MemoryReader, head: bigint): Promise<LoadedModule[] | undefined> {
  const modules: LoadedModule[] = [];
  let previous = head;
  let node = await reader.u64(head);
  while (node !== undefined && node !== head && modules.length < mostModules) {
    if (node < kernelHalf || (await reader.u64(node + 8n)) !== previous) return undefined;
    const module = await readModule(reader, node - BigInt(structModule.list));
    if (!module) return undefined;
    modules.push(module);
    previous = node;
    node = await reader.u64(node);
  }
  return node === undefined ? undefined : modules;
}

async function readModule(reader: MemoryReader, address: bigint): Promise<LoadedModule | undefined> {
  const bytes = await reader.some(address, structModule.searched);
  if (bytes.length < structModule.name + structModule.nameSize) return undefined;
  const view = viewOf(bytes);
  const name = stringAt(bytes.subarray(0, structModule.name + structModule.nameSize), structModule.name);
  const state = states[view.getUint32(structModule.state, true)];
  if (!state || !/^[\w.-]+$/.test(name)) return undefined;
  const symbols = await findSymbols(reader, view, address);
  const regions = findRegions(view);
  return {
    name,
    state,
    address,
    regions: regions.map(({ start, end }) => ({ start: addressOfKey(start), end: addressOfKey(end) })),
    table: tableOf(symbols ?? noSymbols, regions),
  };
}

interface RawSymbols {
  readonly symtab: Uint8Array;
  readonly strtab: Uint8Array;
  readonly types: Uint8Array;
}

const noSymbols: RawSymbols = {
  symtab: new Uint8Array(0),
  strtab: new Uint8Array(0),
  types: new Uint8Array(0),
};

/** Looks through the structure for `core_kallsyms` and reads what it points to. */
async function findSymbols(
  reader: MemoryReader,
  view: DataView,
  address: bigint,
): Promise<RawSymbols | undefined> {
  const first = structModule.name + structModule.nameSize;
  for (const isLive of [true, false]) {
    for (let offset = first; offset + 8 + modKallsyms.size <= view.byteLength; offset += 8) {
      const pointer = view.getBigUint64(offset, true);
      // Before the module is live the pointer leads to its init memory instead.
      const fits = isLive ? pointer === address + BigInt(offset + 8) : pointer >= kernelHalf;
      if (!fits) continue;
      const symbols = await readSymbols(reader, view, offset + 8);
      if (symbols) return symbols;
    }
  }
  return undefined;
}

async function readSymbols(
  reader: MemoryReader,
  view: DataView,
  offset: number,
): Promise<RawSymbols | undefined> {
  const symtab = view.getBigUint64(offset + modKallsyms.symtab, true);
  const count = view.getUint32(offset + modKallsyms.count, true);
  const strtab = view.getBigUint64(offset + modKallsyms.strtab, true);
  const typetab = view.getBigUint64(offset + modKallsyms.typetab, true);
  const padding = view.getUint32(offset + modKallsyms.count + 4, true);
  if (symtab < kernelHalf || strtab <= symtab || typetab <= strtab || padding !== 0) return undefined;
  if (count < 1 || count > mostSymbols) return undefined;
  const entrySize = layout64.symbol.size;
  const first = await reader.memory.read(symtab, entrySize);
  // A symbol table starts with an empty entry.
  if (!first?.every((byte) => byte === 0)) return undefined;
  const entries = await reader.memory.read(symtab, count * entrySize);
  if (!entries) return undefined;
  const table = viewOf(entries);
  let stringsEnd = 0;
  for (let i = 0; i < count; i++) {
    stringsEnd = Math.max(stringsEnd, table.getUint32(i * entrySize + layout64.symbol.name, true));
  }
  const limit = typetab - strtab;
  if (stringsEnd > largestStrings || BigInt(stringsEnd) > limit) return undefined;
  // The strings end after the last name; no name is longer than KSYM_NAME_LEN (512).
  const length = Math.min(Number(limit), stringsEnd + 512, largestStrings);
  const strings = await reader.some(strtab, length);
  const types = await reader.memory.read(typetab, count);
  if (strings.length <= stringsEnd || !types) return undefined;
  return { symtab: entries, strtab: strings, types };
}

/** The stretches of memory the structure names: disjoint and ascending address keys. */
function findRegions(view: DataView): Region[] {
  const found: Region[] = [];
  for (let offset = structModule.name + structModule.nameSize; offset + 16 <= view.byteLength; offset += 8) {
    const base = view.getBigUint64(offset, true);
    const size = view.getUint32(offset + 8, true);
    // The size of its text follows, or nothing: the upper half of a pointer is larger.
    const textSize = view.getUint32(offset + 12, true);
    if (base < kernelHalf || base & pageMask || size === 0 || size > largestRegion) continue;
    if (textSize > size) continue;
    const start = keyOf(base);
    found.push({ name: "module", start, end: start + size });
  }
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  const disjoint: Region[] = [];
  for (const region of found) {
    if (region.start >= (disjoint.at(-1)?.end ?? Number.NEGATIVE_INFINITY)) disjoint.push(region);
  }
  return disjoint;
}

function tableOf({ symtab, strtab, types }: RawSymbols, regions: readonly Region[]): SymbolTable {
  const at = layout64.symbol;
  const view = viewOf(symtab);
  const count = Math.max(0, Math.floor(symtab.length / at.size) - 1);
  const nameStarts = new Uint32Array(count);
  const nameEnds = new Uint32Array(count);
  const starts = new Float64Array(count);
  const sizes = new Float64Array(count);
  const kinds = new Uint8Array(count);
  const regionOf = new Int32Array(count);
  let used = 0;
  for (let i = 1; i <= count; i++) {
    const base = i * at.size;
    const nameStart = view.getUint32(base + at.name, true);
    const nameEnd = strtab.indexOf(0, nameStart);
    if (nameEnd <= nameStart) continue;
    const start = view.getInt32(base + at.value + 4, true) * 2 ** 32 + view.getUint32(base + at.value, true);
    const size = view.getUint32(base + at.length, true);
    const region = regions.findIndex((place) => start >= place.start && start < place.end);
    nameStarts[used] = nameStart;
    nameEnds[used] = nameEnd;
    starts[used] = start;
    sizes[used] = size;
    kinds[used] = types[i]!;
    regionOf[used++] = region;
  }
  const names = new NameList(strtab, nameStarts.slice(0, used), nameEnds.slice(0, used));
  const columns = { starts: starts.slice(0, used), sizes: sizes.slice(0, used), kinds: kinds.slice(0, used) };
  const intervals = chooseLikeGdb({
    names,
    ...columns,
    regionOf: regionOf.subarray(0, used),
    regionEnds: Float64Array.from(regions, ({ end }) => end),
    globalCode: columns.kinds.map((kind) => (kind === globalText ? 1 : 0)),
  });
  return { names, ...columns, intervals };
}

const globalText = "T".charCodeAt(0);
