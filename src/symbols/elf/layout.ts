/**
 * The parts of the ELF layout that are read here. Source: System V ABI, chapters 4 and 5 (gabi), `elf.h`.
 * Offsets are bytes from the start of a structure, for 32-bit and 64-bit files.
 */

/** The first 16 bytes of a file. */
export const ident = {
  magic: [0x7f, 0x45, 0x4c, 0x46],
  class: 4,
  data: 5,
  size: 16,
  class32: 1,
  class64: 2,
  littleEndian: 1,
} as const;

export interface HeaderLayout {
  readonly wordSize: 4 | 8;
  readonly header: {
    readonly size: number;
    readonly type: number;
    readonly machine: number;
    readonly entry: number;
    readonly programHeaders: number;
    readonly sectionHeaders: number;
    readonly programHeaderSize: number;
    readonly programHeaderCount: number;
    readonly sectionHeaderSize: number;
    readonly sectionHeaderCount: number;
    readonly sectionNames: number;
  };
  readonly program: {
    readonly size: number;
    readonly type: number;
    readonly flags: number;
    readonly offset: number;
    readonly address: number;
    readonly physicalAddress: number;
    readonly fileSize: number;
    readonly memorySize: number;
  };
  readonly section: {
    readonly size: number;
    readonly name: number;
    readonly type: number;
    readonly flags: number;
    readonly address: number;
    readonly offset: number;
    readonly length: number;
    readonly link: number;
    readonly info: number;
    readonly entrySize: number;
  };
  readonly symbol: {
    readonly size: number;
    readonly name: number;
    readonly info: number;
    readonly section: number;
    readonly value: number;
    readonly length: number;
  };
}

export const layout32: HeaderLayout = {
  wordSize: 4,
  header: {
    size: 52,
    type: 16,
    machine: 18,
    entry: 24,
    programHeaders: 28,
    sectionHeaders: 32,
    programHeaderSize: 42,
    programHeaderCount: 44,
    sectionHeaderSize: 46,
    sectionHeaderCount: 48,
    sectionNames: 50,
  },
  program: {
    size: 32,
    type: 0,
    offset: 4,
    address: 8,
    physicalAddress: 12,
    fileSize: 16,
    memorySize: 20,
    flags: 24,
  },
  section: {
    size: 40,
    name: 0,
    type: 4,
    flags: 8,
    address: 12,
    offset: 16,
    length: 20,
    link: 24,
    info: 28,
    entrySize: 36,
  },
  symbol: { size: 16, name: 0, value: 4, length: 8, info: 12, section: 14 },
};

export const layout64: HeaderLayout = {
  wordSize: 8,
  header: {
    size: 64,
    type: 16,
    machine: 18,
    entry: 24,
    programHeaders: 32,
    sectionHeaders: 40,
    programHeaderSize: 54,
    programHeaderCount: 56,
    sectionHeaderSize: 58,
    sectionHeaderCount: 60,
    sectionNames: 62,
  },
  program: {
    size: 56,
    type: 0,
    flags: 4,
    offset: 8,
    address: 16,
    physicalAddress: 24,
    fileSize: 32,
    memorySize: 40,
  },
  section: {
    size: 64,
    name: 0,
    type: 4,
    flags: 8,
    address: 16,
    offset: 24,
    length: 32,
    link: 40,
    info: 44,
    entrySize: 56,
  },
  symbol: { size: 24, name: 0, info: 4, section: 6, value: 8, length: 16 },
};

export const fileType = { relocatable: 1, executable: 2, shared: 3, core: 4 } as const;

export const machine = { x86: 3, x86_64: 62, arm64: 183, riscv: 243 } as const;

export const sectionType = {
  none: 0,
  symbols: 2,
  strings: 3,
  relocationsWithAddend: 4,
  note: 7,
  noBits: 8,
  relocations: 9,
  dynamicSymbols: 11,
  /** Section numbers of symbols that do not fit in 16 bits. */
  symbolSections: 18,
} as const;

export const sectionFlag = { write: 1, allocate: 2, execute: 4, compressed: 0x800 } as const;

export const programType = { load: 1, note: 4 } as const;

/** Section numbers with a meaning of their own. */
export const sectionNumber = { undefined: 0, reserved: 0xff00, absolute: 0xfff1, extended: 0xffff } as const;

export const symbolType = {
  none: 0,
  object: 1,
  function: 2,
  section: 3,
  file: 4,
  tls: 6,
  ifunc: 10,
} as const;

export const symbolBinding = { local: 0, global: 1, weak: 2, unique: 10 } as const;

/** `note` types owned by "GNU". */
export const gnuBuildId = 3;
