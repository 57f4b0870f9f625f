/**
 * BTF, the types a Linux kernel carries. Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of Linux 6.12.
 *
 * ```
 * header │ … types … │ … strings …
 *          ^ headerLength + typesOffset, 4-byte aligned   ^ headerLength + stringsOffset
 * ```
 *
 * All integers are little-endian u32 but magic (u16), version and flags (u8).
 */
export const btfHeader = {
  magicValue: 0xeb9f,
  versionValue: 1,
  magic: 0,
  version: 2,
  flags: 3,
  length: 4,
  typesOffset: 8,
  typesLength: 12,
  stringsOffset: 16,
  stringsLength: 20,
  size: 24,
} as const;

/** How every type starts, in words. `info`: count in bits 0–15, kind in bits 24–28, flag in bit 31. */
export const btfType = { name: 0, info: 1, sizeOrType: 2, words: 3 } as const;

export const btfKind = {
  unknown: 0,
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  prototype: 13,
  variable: 14,
  section: 15,
  float: 16,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Words after the common start of each kind: once, and for each of the `count` entries. */
export const btfWords: readonly { readonly fixed: number; readonly each: number }[] = [
  { fixed: 0, each: 0 }, // unknown
  { fixed: 1, each: 0 }, // int: encoding
  { fixed: 0, each: 0 }, // pointer
  { fixed: 3, each: 0 }, // array: element type, index type, count
  { fixed: 0, each: 3 }, // struct: name, type, offset
  { fixed: 0, each: 3 }, // union
  { fixed: 0, each: 2 }, // enum: name, value
  { fixed: 0, each: 0 }, // forward
  { fixed: 0, each: 0 }, // typedef
  { fixed: 0, each: 0 }, // volatile
  { fixed: 0, each: 0 }, // const
  { fixed: 0, each: 0 }, // restrict
  { fixed: 0, each: 0 }, // function: the count is its linkage
  { fixed: 0, each: 2 }, // prototype: name, type
  { fixed: 1, each: 0 }, // variable: linkage
  { fixed: 0, each: 3 }, // section: type, offset, size
  { fixed: 0, each: 0 }, // float
  { fixed: 1, each: 0 }, // declaration tag: component
  { fixed: 0, each: 0 }, // type tag
  { fixed: 0, each: 3 }, // enum64: name, low, high
];

export const btfInfo = { countMask: 0xffff, kindShift: 24, kindMask: 0x1f, flagShift: 31 } as const;

/** The extra word of an int: bits in bits 0–7, their offset in bits 16–23, encoding in bits 24–27. */
export const btfInt = {
  bitsMask: 0xff,
  offsetShift: 16,
  offsetMask: 0xff,
  encodingShift: 24,
  signed: 1,
  char: 2,
  bool: 4,
} as const;

/** A member's offset when the struct's flag is set: bits from the start in bits 0–23, its width in bits 24–31. */
export const btfMember = { offsetMask: 0xffffff, bitSizeShift: 24 } as const;
