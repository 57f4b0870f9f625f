import type { Member, StructType, Type, Variant, Variants } from "../types/type.js";
import { toInteger } from "./value.js";

/** The alternative that bytes hold; undefined when none fits, as in memory that was not written yet. */
export function presentVariant({ discriminant, list }: Variants, bytes: Uint8Array): Variant | undefined {
  if (!discriminant) return list.length === 1 ? list[0] : undefined;
  const { type, byteOffset } = discriminant;
  const size = "size" in type ? type.size : 0;
  if (size === 0 || byteOffset + size > bytes.length) return undefined;
  const bits = size * 8;
  const value = BigInt.asUintN(bits, toInteger(type, bytes.subarray(byteOffset, byteOffset + size)));
  const fits = (variant: Variant) =>
    variant.value !== undefined && BigInt.asUintN(bits, variant.value) === value;
  return list.find(fits) ?? list.find((variant) => variant.value === undefined);
}

/** How a value of a structure is written around its fields. */
export interface RustForm {
  readonly open: string;
  readonly close: string;
  readonly named: boolean;
}

/** As GDB writes a structure: `(1, 2)`, `Pair (1, 2)`, `Point {x: 1, y: 2}`, `Unit`; an enum's alternative without the blank. */
export function rustForm(type: StructType, isVariant: boolean): RustForm {
  const name = type.name ?? "";
  const isTuple = name.startsWith("(");
  const { members } = type;
  if (!isTuple && members.length === 0) return { open: name, close: "", named: false };
  const isTupleStruct = members.length > 0 && members.every((member, i) => member.name === `__${i}`);
  const gap = isTuple ? "" : isVariant ? name : `${name} `;
  return isTuple || isTupleStruct
    ? { open: `${gap}(`, close: ")", named: false }
    : { open: `${gap}{`, close: "}", named: true };
}

/** The parts of `&str`, `&[T]` and `&mut [T]`; undefined for what is none of these. */
export function sliceOf(type: StructType): { readonly data: Member; readonly length: Member } | undefined {
  if (type.name !== "&str" && !/^&(mut )?\[/.test(type.name ?? "")) return undefined;
  const [data, length] = ["data_ptr", "length"].map((name) =>
    type.members.find((member) => member.name === name),
  );
  return data?.type.kind === "pointer" && length?.type.kind === "int" ? { data, length } : undefined;
}

/** Types within types: more is damage. */
const deepest = 32;

/** A type as Rust names it: `*mut rs::Shape`, `[u8; 3]`. */
export function rustTypeName(type: Type, depth = 0): string {
  if (depth > deepest) return "...";
  switch (type.kind) {
    case "pointer":
      return `*mut ${rustTypeName(type.target, depth + 1)}`;
    case "array":
      return `[${rustTypeName(type.element, depth + 1)}; ${type.count ?? 0}]`;
    case "const":
    case "volatile":
    case "restrict":
    case "atomic":
      return rustTypeName(type.target, depth + 1);
    case "function": {
      const parameters = type.parameters
        .map((parameter) => rustTypeName(parameter.type, depth + 1))
        .join(", ");
      const result = type.result.kind === "void" ? "" : ` -> ${rustTypeName(type.result, depth + 1)}`;
      return `fn (${parameters})${result}`;
    }
    case "void":
      return "()";
    default:
      return type.name ?? "{...}";
  }
}
