/**
 * Call frame information. Sources: DWARF 5, sections 6.4 and 7.24; Linux Standard Base 5, Core, chapter 10.6
 * (`.eh_frame`, `.eh_frame_hdr`, pointer encodings); System V ABI for AMD64, chapter 3.7 and 4.2.4 (signal frames).
 *
 * Both kinds of section are sequences of entries with a length in front; a CIE says what its FDEs share:
 *
 *     u32 length (0xffffffff: u64 length follows) | id | …
 *     CIE id: 0 in .eh_frame, ~0 in .debug_frame; FDE: back from this field to the CIE, or the CIE's offset
 */
export const cfiEntry = { longLength: 0xffff_ffff, endLength: 0, cieIdDebug: 0xffff_ffff } as const;

/** DW_EH_PE_*: format, application and indirection of a pointer. */
export const pointerEncoding = {
  omit: 0xff,
  formatMask: 0x0f,
  absolute: 0x00,
  uleb128: 0x01,
  udata2: 0x02,
  udata4: 0x03,
  udata8: 0x04,
  sleb128: 0x09,
  sdata2: 0x0a,
  sdata4: 0x0b,
  sdata8: 0x0c,
  applicationMask: 0x70,
  pcRelative: 0x10,
  textRelative: 0x20,
  dataRelative: 0x30,
  functionRelative: 0x40,
  aligned: 0x50,
  indirect: 0x80,
} as const;

/** `.eh_frame_hdr`: u8 version, u8 encodings of three, pointer to .eh_frame, count, then pairs (address, FDE), sorted. */
export const frameHeader = { version: 1, tableSorted: 0x3b, size: 4 } as const;

/** DW_CFA_*: the first three have their operand in the low six bits. */
export const cfaOpcode = {
  advanceLoc: 0x40,
  offset: 0x80,
  restore: 0xc0,
  nop: 0x00,
  setLoc: 0x01,
  advanceLoc1: 0x02,
  advanceLoc2: 0x03,
  advanceLoc4: 0x04,
  offsetExtended: 0x05,
  restoreExtended: 0x06,
  undefined: 0x07,
  sameValue: 0x08,
  register: 0x09,
  rememberState: 0x0a,
  restoreState: 0x0b,
  defCfa: 0x0c,
  defCfaRegister: 0x0d,
  defCfaOffset: 0x0e,
  defCfaExpression: 0x0f,
  expression: 0x10,
  offsetExtendedSf: 0x11,
  defCfaSf: 0x12,
  defCfaOffsetSf: 0x13,
  valOffset: 0x14,
  valOffsetSf: 0x15,
  valExpression: 0x16,
  mipsAdvanceLoc8: 0x1d,
  gnuWindowSave: 0x2d,
  gnuArgsSize: 0x2e,
  gnuNegativeOffsetExtended: 0x2f,
} as const;

/** How a register of the caller is found. */
export const ruleKind = {
  /** Nothing is said: a callee-saved one is as it was, another is lost. */
  unspecified: 0,
  undefined: 1,
  sameValue: 2,
  /** In memory at CFA + value. */
  offset: 3,
  /** CFA + value. */
  valOffset: 4,
  /** In register `value`. */
  register: 5,
  /** In memory where the expression says. */
  expression: 6,
  /** What the expression says. */
  valExpression: 7,
} as const;
