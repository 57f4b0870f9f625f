/**
 * The parts of DWARF that are read here. Source: DWARF Debugging Information Format, versions 4 and 5 (dwarfstd.org),
 * chapter 7; GNU extensions from `include/dwarf2.def` of binutils.
 */

export const tag = {
  arrayType: 0x01,
  classType: 0x02,
  enumerationType: 0x04,
  compileUnit: 0x11,
  structureType: 0x13,
  subroutineType: 0x15,
  unionType: 0x17,
  inlinedSubroutine: 0x1d,
  subprogram: 0x2e,
  interfaceType: 0x38,
  namespace: 0x39,
  partialUnit: 0x3c,
  callSite: 0x48,
  skeletonUnit: 0x4a,
  gnuCallSite: 0x4109,
} as const;

export const attribute = {
  sibling: 0x01,
  name: 0x03,
  statementList: 0x10,
  lowPc: 0x11,
  highPc: 0x12,
  language: 0x13,
  compilationDirectory: 0x1b,
  abstractOrigin: 0x31,
  declaration: 0x3c,
  specification: 0x47,
  entryPc: 0x52,
  ranges: 0x55,
  callColumn: 0x57,
  callFile: 0x58,
  callLine: 0x59,
  linkageName: 0x6e,
  stringOffsetsBase: 0x72,
  addressBase: 0x73,
  rangeListsBase: 0x74,
  dwoName: 0x76,
  mipsLinkageName: 0x2007,
  gnuDwoName: 0x2130,
  gnuRangesBase: 0x2132,
  gnuAddressBase: 0x2133,
} as const;

export const form = {
  address: 0x01,
  block2: 0x03,
  block4: 0x04,
  data2: 0x05,
  data4: 0x06,
  data8: 0x07,
  string: 0x08,
  block: 0x09,
  block1: 0x0a,
  data1: 0x0b,
  flag: 0x0c,
  sdata: 0x0d,
  strp: 0x0e,
  udata: 0x0f,
  refAddress: 0x10,
  ref1: 0x11,
  ref2: 0x12,
  ref4: 0x13,
  ref8: 0x14,
  refUdata: 0x15,
  indirect: 0x16,
  sectionOffset: 0x17,
  expression: 0x18,
  flagPresent: 0x19,
  strx: 0x1a,
  addrx: 0x1b,
  refSup4: 0x1c,
  strpSup: 0x1d,
  data16: 0x1e,
  lineStrp: 0x1f,
  refSignature: 0x20,
  implicitConstant: 0x21,
  loclistx: 0x22,
  rnglistx: 0x23,
  refSup8: 0x24,
  strx1: 0x25,
  strx2: 0x26,
  strx3: 0x27,
  strx4: 0x28,
  addrx1: 0x29,
  addrx2: 0x2a,
  addrx3: 0x2b,
  addrx4: 0x2c,
  gnuAddressIndex: 0x1f01,
  gnuStringIndex: 0x1f02,
  gnuRefAlt: 0x1f20,
  gnuStrpAlt: 0x1f21,
} as const;

export const unitType = {
  compile: 1,
  type: 2,
  partial: 3,
  skeleton: 4,
  splitCompile: 5,
  splitType: 6,
} as const;

/** Entries of a DWARF 5 range list. */
export const rangeEntry = {
  end: 0,
  baseIndex: 1,
  startIndexEndIndex: 2,
  startIndexLength: 3,
  offsetPair: 4,
  base: 5,
  startEnd: 6,
  startLength: 7,
} as const;

/** Standard opcodes of a line program. */
export const lineOpcode = {
  extended: 0,
  copy: 1,
  advancePc: 2,
  advanceLine: 3,
  setFile: 4,
  setColumn: 5,
  negateStatement: 6,
  setBasicBlock: 7,
  constAddPc: 8,
  fixedAdvancePc: 9,
  setPrologueEnd: 10,
  setEpilogueBegin: 11,
  setIsa: 12,
} as const;

export const extendedLineOpcode = { endSequence: 1, setAddress: 2, defineFile: 3 } as const;

/** Content types of a DWARF 5 line header's file table. */
export const lineContent = { path: 1, directory: 2 } as const;

/** Languages whose structures hold no functions: C in all its standards. */
export const cLanguages: ReadonlySet<number> = new Set([0x01, 0x02, 0x0c, 0x1d, 0x2c]);

/** Where a string stands. `alt` is the string section of a file shared by several debug files (dwz). */
export const textHome = { none: 0, str: 1, lineStr: 2, alt: 3, info: 4 } as const;
