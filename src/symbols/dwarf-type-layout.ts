/**
 * The parts of DWARF that types and variables are made of. Source: DWARF Debugging Information Format, version 5
 * (dwarfstd.org), chapters 3, 5 and 7; GNU extensions from `include/dwarf2.def` of binutils.
 */

export const typeTag = {
  array: 0x01,
  class: 0x02,
  enumeration: 0x04,
  formalParameter: 0x05,
  lexicalBlock: 0x0b,
  member: 0x0d,
  pointer: 0x0f,
  reference: 0x10,
  compileUnit: 0x11,
  structure: 0x13,
  subroutine: 0x15,
  typedef: 0x16,
  union: 0x17,
  unspecifiedParameters: 0x18,
  variant: 0x19,
  inheritance: 0x1c,
  inlinedSubroutine: 0x1d,
  pointerToMember: 0x1f,
  subrange: 0x21,
  base: 0x24,
  const: 0x26,
  enumerator: 0x28,
  subprogram: 0x2e,
  variantPart: 0x33,
  variable: 0x34,
  volatile: 0x35,
  restrict: 0x37,
  namespace: 0x39,
  unspecified: 0x3b,
  rvalueReference: 0x42,
  atomic: 0x47,
} as const;

export const typeAttribute = {
  sibling: 0x01,
  location: 0x02,
  name: 0x03,
  byteSize: 0x0b,
  bitOffset: 0x0c,
  bitSize: 0x0d,
  lowPc: 0x11,
  highPc: 0x12,
  constValue: 0x1c,
  prototyped: 0x27,
  upperBound: 0x2f,
  abstractOrigin: 0x31,
  count: 0x37,
  memberLocation: 0x38,
  declaration: 0x3c,
  encoding: 0x3e,
  external: 0x3f,
  frameBase: 0x40,
  specification: 0x47,
  type: 0x49,
  ranges: 0x55,
  signature: 0x69,
  dataBitOffset: 0x6b,
  enumClass: 0x6d,
  locListsBase: 0x8c,
} as const;

/** DW_ATE_*. */
export const baseEncoding = {
  boolean: 0x02,
  complexFloat: 0x03,
  float: 0x04,
  signed: 0x05,
  signedChar: 0x06,
  unsigned: 0x07,
  unsignedChar: 0x08,
  utf: 0x10,
} as const;

/** Operations that say where a value is, rather than compute. */
export const locationOp = {
  addr: 0x03,
  plusUconst: 0x23,
  reg0: 0x50,
  regx: 0x90,
  fbreg: 0x91,
  piece: 0x93,
  formTlsAddress: 0x9b,
  bitPiece: 0x9d,
  implicitValue: 0x9e,
  stackValue: 0x9f,
  implicitPointer: 0xa0,
  entryValue: 0xa3,
  gnuPushTlsAddress: 0xe0,
  gnuImplicitPointer: 0xf2,
  gnuEntryValue: 0xf3,
} as const;

/** Entries of a DWARF 5 location list (7.7.3). */
export const locationEntry = {
  end: 0,
  baseIndex: 1,
  startIndexEndIndex: 2,
  startIndexLength: 3,
  offsetPair: 4,
  default: 5,
  base: 6,
  startEnd: 7,
  startLength: 8,
  viewPair: 9,
} as const;
