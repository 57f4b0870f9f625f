import { type FloatType, type IntType, PointerType, type Type, TypedefType, voidType } from "./type.js";

/** The types of C that need no source: sizes as on every 64-bit Linux. Names in GDB's spelling. */
function int(name: string, size: number, signed: boolean, style: IntType["style"] = "number"): IntType {
  return { kind: "int", name, size, signed, style };
}

export const builtin = {
  bool: int("bool", 1, false, "bool"),
  char: int("char", 1, true),
  signedChar: int("signed char", 1, true),
  unsignedChar: int("unsigned char", 1, false),
  short: int("short", 2, true),
  unsignedShort: int("unsigned short", 2, false),
  int: int("int", 4, true),
  unsignedInt: int("unsigned int", 4, false),
  long: int("long", 8, true),
  unsignedLong: int("unsigned long", 8, false),
  longLong: int("long long", 8, true),
  unsignedLongLong: int("unsigned long long", 8, false),
  int128: int("__int128", 16, true),
  unsignedInt128: int("unsigned __int128", 16, false),
} as const;

export const builtinFloat: Readonly<Record<"float" | "double" | "long double", FloatType>> = {
  float: { kind: "float", name: "float", size: 4 },
  double: { kind: "float", name: "double", size: 8 },
  "long double": { kind: "float", name: "long double", size: 16 },
};

/** Bytes of a pointer. */
export const pointerSize = 8;

export function pointerTo(type: Type): PointerType {
  return new PointerType(pointerSize, () => type);
}

export const voidPointer = pointerTo(voidType);

const alias = (name: string, type: Type) => [name, new TypedefType(name, () => type)] as const;

/** Names that are at hand where no source knows them. */
export const builtinTypedefs: ReadonlyMap<string, TypedefType> = new Map([
  alias("u8", builtin.unsignedChar),
  alias("u16", builtin.unsignedShort),
  alias("u32", builtin.unsignedInt),
  alias("u64", builtin.unsignedLong),
  alias("s8", builtin.signedChar),
  alias("s16", builtin.short),
  alias("s32", builtin.int),
  alias("s64", builtin.long),
  alias("uint8_t", builtin.unsignedChar),
  alias("uint16_t", builtin.unsignedShort),
  alias("uint32_t", builtin.unsignedInt),
  alias("uint64_t", builtin.unsignedLong),
  alias("int8_t", builtin.signedChar),
  alias("int16_t", builtin.short),
  alias("int32_t", builtin.int),
  alias("int64_t", builtin.long),
  alias("size_t", builtin.unsignedLong),
  alias("ssize_t", builtin.long),
  alias("uintptr_t", builtin.unsignedLong),
  alias("intptr_t", builtin.long),
]);
