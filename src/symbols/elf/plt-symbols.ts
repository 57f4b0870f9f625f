import { type ElfFile, type ElfSection, inFile, numberAt, stringAt, viewOf } from "./elf.js";
import { machine, sectionType } from "./layout.js";

/**
 * Names for the jump stubs through which a program calls its libraries: `NAME@plt`, as GDB and objdump make them
 * up. A stub jumps through a slot of the global offset table, and the relocation of that slot has the name.
 */
export interface PltSymbol {
  readonly name: string;
  readonly address: number;
  readonly size: number;
  readonly section: number;
}

const pltSections = [".plt", ".plt.sec", ".plt.got"] as const;
const relocationSections = [".rela.plt", ".rela.dyn"] as const;
const stubSize = 16;
const endbr64 = [0xf3, 0x0f, 0x1e, 0xfa] as const;
/** `jmp *disp32(%rip)`, 6 bytes, perhaps after a bnd prefix. */
const jumpOpcode = [0xff, 0x25] as const;
const jumpSize = 6;
const bndPrefix = 0xf2;
const relocationSize = 24;
/** R_X86_64_GLOB_DAT and R_X86_64_JUMP_SLOT. */
const slotRelocations: readonly number[] = [6, 7];
/** R_X86_64_IRELATIVE: the slot has no name, only the address of a function that chooses what goes in. */
const indirectRelocation = 37;

/** The stubs of a 64-bit x86 file; none for other machines, and fewer for a damaged file. */
export function pltSymbols(elf: ElfFile): PltSymbol[] {
  if (elf.machine !== machine.x86_64 || elf.layout.wordSize !== 8) return [];
  const plts = pltSections
    .map((name) => elf.section(name))
    .filter(
      (section) =>
        section !== undefined && section.type !== sectionType.noBits && inFile(elf.source, section),
    )
    .map((section) => section!);
  if (plts.length === 0) return [];
  const names = slotNames(elf);
  const found: PltSymbol[] = [];
  for (const section of plts) {
    const start = Number(BigInt.asIntN(64, section.address));
    const size = section.name === ".plt.got" && section.entrySize === 8 ? 8 : stubSize;
    const code = elf.contents(section);
    for (let offset = 0; offset + size <= code.length; offset += size) {
      const slot = slotOfStub(code, offset, size, start);
      const name = slot === undefined ? undefined : names.get(slot);
      if (name) found.push({ name: `${name}@plt`, address: start + offset, size, section: section.index });
    }
  }
  return found;
}

/** The address of the slot the stub at `offset` jumps through. */
function slotOfStub(
  code: Uint8Array,
  offset: number,
  size: number,
  sectionStart: number,
): number | undefined {
  let at = offset;
  if (endbr64.every((byte, i) => code[at + i] === byte)) at += endbr64.length;
  if (code[at] === bndPrefix) at++;
  if (code[at] !== jumpOpcode[0] || code[at + 1] !== jumpOpcode[1] || at + jumpSize > offset + size) {
    return undefined;
  }
  return sectionStart + at + jumpSize + viewOf(code).getInt32(at + 2, true);
}

/** Slot address → symbol name, from the relocations that fill slots. */
function slotNames(elf: ElfFile): Map<number, string> {
  const names = new Map<number, string>();
  for (const name of relocationSections) {
    const section = elf.section(name);
    if (section?.type !== sectionType.relocationsWithAddend || !inFile(elf.source, section)) continue;
    const symbols = elf.sections[section.link];
    const strings = symbols && elf.sections[symbols.link];
    if (symbols?.type !== sectionType.dynamicSymbols || !strings) continue;
    if (inFile(elf.source, symbols) && inFile(elf.source, strings)) {
      addSlots(names, elf, section, symbols, elf.contents(strings));
    }
  }
  return names;
}

function addSlots(
  names: Map<number, string>,
  elf: ElfFile,
  section: ElfSection,
  symbols: ElfSection,
  strings: Uint8Array,
): void {
  const relocations = viewOf(elf.contents(section));
  const table = viewOf(elf.contents(symbols));
  const at = elf.layout.symbol;
  for (let offset = 0; offset + relocationSize <= relocations.byteLength; offset += relocationSize) {
    const type = relocations.getUint32(offset + 8, true);
    if (type === indirectRelocation) {
      const chooser = relocations.getBigUint64(offset + 16, true).toString(16);
      names.set(numberAt(relocations, offset, 8), `*ABS*+0x${chooser}`);
    }
    if (!slotRelocations.includes(type)) continue;
    const symbol = relocations.getUint32(offset + 12, true) * at.size;
    if (symbol + at.size > table.byteLength) continue;
    const name = stringAt(strings, table.getUint32(symbol + at.name, true));
    if (name) names.set(numberAt(relocations, offset, 8), name);
  }
}
