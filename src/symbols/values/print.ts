import { isVmtapeError } from "../../base/errors.js";
import { type GuestMemory, MemoryReader } from "../../base/guest-memory.js";
import { hex } from "../../base/units.js";
import { formatType } from "../types/name.js";
import { templateName } from "../types/template-name.js";
import {
  ArrayType,
  type EnumType,
  type IntType,
  isStruct,
  type Member,
  type PointerType,
  resolve,
  type StructType,
  sizeOf,
  type Type,
} from "../types/type.js";
import { formatScalar, type PrintFormat } from "./format.js";
import { presentVariant, rustForm, rustTypeName, sliceOf } from "./rust-value.js";
import { formatChar, formatFloat, formatString, type PrintLimits, printLimits } from "./text.js";
import {
  bytesOf,
  checkedSize,
  extractBits,
  type Hole,
  holesWithin,
  loadValue,
  notMapped,
  readMemory,
  toFloat,
  toInteger,
  type Value,
} from "./value.js";

/** What printing needs of the guest. */
export interface PrintContext {
  readonly memory: GuestMemory;
  /** `name` or `name+12` of an address, where one is known: functions, and data that pointers lead to. */
  readonly nameOf?: ((address: bigint) => string | undefined) | undefined;
  /** What GDB's `print/x` and its like ask for. */
  readonly format?: PrintFormat | undefined;
  readonly limits?: PrintLimits | undefined;
  /** As GDB shows values where code of Rust runs. */
  readonly isRust?: boolean | undefined;
}

/**
 * A value as GDB's `print` shows it, without the `$1 = `: `{next = 0xffff…, prev = 0x…}`, `115 's'`,
 * `(struct file *) 0xffff…`, `0xffff… "text"`, `(A | B)`. Memory that is not mapped is told within the text where a
 * pointer leads to it.
 *
 * @throws VmtapeError `not-mapped` when the value itself cannot be read; see `loadValue`
 */
export async function printValue(value: Value, context: PrintContext): Promise<string> {
  if (value.missing !== undefined) return `<${value.missing}>`;
  const plain = resolve(value.type);
  const printer = new Printer(context, value.holes);
  if (plain.kind === "function") {
    const address = value.address ?? 0n;
    return `{${formatType(plain)}} ${printer.address(address, true)}`;
  }
  if (plain.kind === "void" || plain.kind === "forward") {
    return plain.kind === "void" ? "void" : `<incomplete type>`;
  }
  const bytes = await loadValue(value, context.memory);
  const body = await printer.print(value.type, bytes, value.address, 0);
  if (plain.kind !== "pointer" || (context.format && !plain.reference)) return body;
  if (plain.reference) return `(${formatType(value.type)}) ${body}`;
  if (context.isRust) return `(${rustTypeName(value.type)}) ${body}`;
  return needsNoType(value.type, plain) ? body : `(${formatType(value.type)}) ${body}`;
}

/** GDB leaves `(char *)` out where the text itself says so, unless a typedef names it. */
function needsNoType(type: Type, pointer: PointerType): boolean {
  if (type.kind === "typedef") return false;
  let target = pointer.target;
  for (let steps = 0; steps < 8 && (target.kind === "const" || target.kind === "volatile"); steps++) {
    target = target.target;
  }
  return target.kind === "int" && target.name === "char";
}

class Printer {
  private readonly limits: PrintLimits;
  /** How many more values are printed. */
  private left = mostParts;
  private nesting = 0;

  /** Where the holes are counted from: the whole value's place in its buffer. */
  private origin: number | undefined;

  constructor(
    private readonly context: PrintContext,
    private readonly holes: readonly Hole[] | undefined,
  ) {
    this.limits = context.limits ?? printLimits;
  }

  /** A value within another, or the body of one at the top. */
  async print(type: Type, bytes: Uint8Array, address: bigint | undefined, depth: number): Promise<string> {
    if (this.left-- <= 0) return "...";
    this.origin ??= bytes.byteOffset;
    const plain = resolve(type);
    const { format } = this.context;
    if (isStruct(plain)) {
      return plain.rust && this.context.isRust
        ? this.rustStructure(plain, bytes, address, depth)
        : this.structure(plain, bytes, address, depth);
    }
    if (plain.kind === "array") return this.array(plain, bytes, address, depth);
    const missing = this.missing(bytes);
    if (missing !== undefined) return `<${missing}>`;
    if (plain.kind === "pointer" && plain.reference)
      return this.reference(plain, toInteger(plain, bytes), depth);
    // Rust's `()` is an integer of no bytes.
    const isNothing = plain.kind === "int" && plain.size === 0;
    if (format && format !== "s" && !isNothing)
      return formatScalar(type, bytes, format, (at) => this.address(at, true));
    switch (plain.kind) {
      case "int":
        if (plain.size === 0) return plain.name;
        if (this.context.isRust && plain.style === "number") return String(toInteger(plain, bytes));
        return formatInteger(plain, toInteger(plain, bytes));
      case "float":
        return formatFloat(toFloat(bytes), bytes);
      case "enum":
        return formatEnum(plain, toInteger(plain, bytes));
      case "pointer":
        return this.leadsTo(plain.target, toInteger(plain, bytes));
      case "function":
        return `{${formatType(plain)}} ${this.address(address ?? 0n, true)}`;
      case "void":
        return "void";
      case "forward":
        return "<incomplete type>";
    }
  }

  /** Why a scalar of these bytes is not known. */
  private missing(bytes: Uint8Array): string | undefined {
    if (!this.holes || bytes.length === 0) return undefined;
    return holesWithin(this.holes, bytes.byteOffset - (this.origin ?? 0), bytes.length)[0]?.missing;
  }

  /** An address with the name there, where there is one. */
  address(address: bigint, named: boolean): string {
    const name = named && address !== 0n ? this.context.nameOf?.(address) : undefined;
    return name === undefined ? hex(address) : `${hex(address)} <${name}>`;
  }

  private async structure(type: StructType, bytes: Uint8Array, address: bigint | undefined, depth: number) {
    // Anonymous members do not count as deeper, as GDB has it; but they may be in one another without end.
    if (depth >= this.limits.depth || this.nesting >= deepestNesting) return "{...}";
    this.nesting++;
    const parts: string[] = [];
    for (const { name, isBase, type: memberType, byteOffset, bitOffset, bitSize } of type.members) {
      const prefix = isBase ? `<${templateName(name ?? "")}> = ` : name === undefined ? "" : `${name} = `;
      const at = address === undefined ? undefined : address + BigInt(byteOffset);
      if (bitSize !== undefined) {
        const missing = this.missing(bytes.subarray(byteOffset, byteOffset + 1));
        const field = bitField(memberType, bytes, byteOffset, bitOffset ?? 0, bitSize);
        if (missing !== undefined) {
          parts.push(`${prefix}<${missing}>`);
          continue;
        }
        parts.push(prefix + (field ? await this.print(memberType, field, at, depth + 1) : outside));
        continue;
      }
      const size = sizeOf(memberType);
      if (byteOffset + size > bytes.length) {
        parts.push(prefix + outside);
        continue;
      }
      const piece = bytes.subarray(byteOffset, byteOffset + size);
      parts.push(prefix + (await this.print(memberType, piece, at, name === undefined ? depth : depth + 1)));
      if (this.left <= 0) break;
    }
    this.nesting--;
    // As GDB has it, what a class inherits are no fields of its own.
    if (type.members.every(({ isBase }) => isBase)) parts.push("<No data fields>");
    return `{${parts.join(", ")}}`;
  }

  private async array(type: ArrayType, bytes: Uint8Array, address: bigint | undefined, depth: number) {
    const size = sizeOf(type.element);
    const count = size === 0 ? 0 : Math.min(type.count ?? 0, Math.floor(bytes.length / size));
    // As GDB has it, an array without elements is where they would be.
    if (count === 0) return address === undefined ? "{}" : this.leadsTo(type.element, address);
    if (depth >= this.limits.depth) return "{...}";
    if (this.isText(type.element)) return formatString(bytes, false, this.limits);
    const parts: string[] = [];
    let shown = 0;
    let i = 0;
    while (i < count && shown < this.limits.elements) {
      const piece = bytes.subarray(i * size, (i + 1) * size);
      let end = i + 1;
      while (end < count && sameAt(bytes, i * size, end * size, size)) end++;
      const at = address === undefined ? undefined : address + BigInt(i * size);
      const text = await this.print(type.element, piece, at, depth + 1);
      if (end - i > this.limits.repeats) {
        parts.push(`${text} <repeats ${end - i} times>`);
        i = end;
        shown += this.limits.repeats;
      } else {
        parts.push(text);
        i++;
        shown++;
      }
    }
    const [open, close] = this.context.isRust ? "[]" : "{}";
    return `${open}${parts.join(", ")}${i < count ? "..." : ""}${close}`;
  }

  /** A structure of Rust, or the alternative that its enum holds. */
  private async rustStructure(
    type: StructType,
    bytes: Uint8Array,
    address: bigint | undefined,
    depth: number,
    isVariant = false,
  ): Promise<string> {
    if (depth >= this.limits.depth || this.nesting >= deepestNesting) return "{...}";
    const slice = sliceOf(type);
    if (slice) return this.slice(type, slice, bytes, depth);
    const variants = type.rust?.variants();
    if (variants) {
      const present = presentVariant(variants, bytes);
      const inner = present && resolve(present.member.type);
      if (!present || !inner || !isStruct(inner)) return `<error: no variant of ${type.name} has this value>`;
      const { byteOffset } = present.member;
      const piece = bytes.subarray(byteOffset, byteOffset + inner.size);
      return this.rustStructure(inner, piece, address, depth, true);
    }
    const { open, close, named } = rustForm(type, isVariant);
    const parts: string[] = [];
    this.nesting++;
    for (const { name, type: memberType, byteOffset } of type.members) {
      const size = sizeOf(memberType);
      const piece = bytes.subarray(byteOffset, byteOffset + size);
      const at = address === undefined ? undefined : address + BigInt(byteOffset);
      const text = piece.length < size ? outside : await this.print(memberType, piece, at, depth + 1);
      parts.push(named ? `${name}: ${text}` : text);
      if (this.left <= 0) break;
    }
    this.nesting--;
    return `${open}${parts.join(", ")}${close}`;
  }

  /** `"text"`, or `&[i32] [1, 2]`. */
  private async slice(
    type: StructType,
    { data, length }: { readonly data: Member; readonly length: Member },
    bytes: Uint8Array,
    depth: number,
  ): Promise<string> {
    const numberAt = ({ type: of, byteOffset }: Member) =>
      toInteger(of, bytes.subarray(byteOffset, byteOffset + sizeOf(of)));
    const target = (data.type as PointerType).target;
    const count = numberAt(length);
    const shown = Number(count < BigInt(mostParts) ? count : BigInt(mostParts));
    const isStr = type.name === "&str";
    const address = BigInt.asUintN(64, numberAt(data));
    if (isStr) {
      const kept = Math.min(shown, this.limits.elements);
      const text = await readMemory(this.context.memory, address, kept).catch(asMissing);
      return typeof text === "string" ? text : formatString(text, BigInt(kept) < count, this.limits);
    }
    if (shown === 0) return `${type.name} []`;
    const array = new ArrayType(shown, () => target);
    return `${type.name} ${await this.contents(array, address, depth + 1)}`;
  }

  /** C has no integer of one byte that is not also a character; Rust has. */
  private isText(type: Type): boolean {
    return !this.context.isRust && isText(type, this.context.format);
  }

  /** What a reference within something else leads to is not shown. */
  private async reference(type: PointerType, address: bigint, depth: number): Promise<string> {
    return depth > 0 ? `@${hex(address)}` : `@${hex(address)}: ${await this.contents(type.target, address)}`;
  }

  private async contents(type: Type, address: bigint, depth = 1): Promise<string> {
    try {
      const bytes = await loadValue({ type, address }, this.context.memory);
      return await this.print(type, bytes, address, depth);
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      return `<error: ${error.message}>`;
    }
  }

  /** An address that leads to something of this type, with the text there or the name. */
  private async leadsTo(target: Type, address: bigint): Promise<string> {
    const shown = this.address(address, true);
    if (address === 0n || !this.isText(target)) return shown;
    return `${shown} ${await this.textAt(address)}`;
  }

  /** The string at an address, up to its NUL or the limit. */
  private async textAt(address: bigint): Promise<string> {
    const { elements } = this.limits;
    // One more than is shown tells whether more follows.
    const bytes = await new MemoryReader(this.context.memory).some(address, elements + 1);
    const end = bytes.indexOf(0);
    if (end >= 0 && end < elements) return formatString(bytes.subarray(0, end + 1), false, this.limits);
    const text = bytes.subarray(0, elements);
    const isCut = bytes.length < elements;
    const error = isCut ? `<error: ${notMapped(address + BigInt(bytes.length)).message}>` : "";
    if (text.length === 0) return error;
    const more = bytes.length > elements && bytes[elements] !== 0;
    return formatString(text, more, this.limits) + error;
  }
}

/** Memory that is not there, within the text; no other error. */
function asMissing(error: unknown): string {
  if (!isVmtapeError(error)) throw error;
  return `<error: ${error.message}>`;
}

const outside = "<outside of its structure>";
/** Nobody reads more values within one: it is made to harm. */
const mostParts = 1 << 15;
const deepestNesting = 64;

function bitField(type: Type, bytes: Uint8Array, byteOffset: number, offset: number, size: number) {
  const end = byteOffset + Math.ceil((offset + size) / 8);
  if (end > bytes.length) return undefined;
  const plain = resolve(type);
  const signed = (plain.kind === "int" || plain.kind === "enum") && plain.signed;
  const value = extractBits(bytes.subarray(byteOffset, end), offset, size, signed);
  return bytesOf(value, checkedSize(type));
}

function sameAt(bytes: Uint8Array, a: number, b: number, size: number): boolean {
  for (let i = 0; i < size; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}

/** C has no integer of one byte that is not also a character. */
function isText(type: Type, format: PrintFormat | undefined): boolean {
  if (format && format !== "s") return false;
  const plain = resolve(type);
  return plain.kind === "int" && plain.size === 1 && plain.style !== "bool";
}

/** Types whose values are characters of more than a byte, and the letter before their quotes. */
const widePrefixes: ReadonlyMap<string, string> = new Map([
  ["wchar_t", "L"],
  ["char16_t", "u"],
  ["char32_t", "U"],
  ["char", ""],
]);

function formatInteger({ name, style, size }: IntType, value: bigint): string {
  const prefix = size > 1 ? widePrefixes.get(name) : undefined;
  if (prefix !== undefined && value >= 0n && value < 256n) return `${value} ${prefix}${formatChar(value)}`;
  if (style === "bool" && (value === 0n || value === 1n)) return value === 0n ? "false" : "true";
  if (style !== "bool" && size === 1) return `${value} ${formatChar(value)}`;
  return String(value);
}

/** The enumerator's name; of flags, all that are set: `(A | B)`, `(A | unknown: 0x8)`. */
export function formatEnum(type: EnumType, value: bigint): string {
  for (const enumerator of type.enumerators) if (enumerator.value === value) return enumerator.name;
  if (!isFlags(type)) return String(value);
  const parts: string[] = [];
  let rest = value;
  for (const { name, value: flag } of type.enumerators) {
    if ((rest & flag) === 0n) continue;
    rest &= ~flag;
    parts.push(name);
  }
  if (rest !== 0n) parts.push(`unknown: ${hex(rest)}`);
  return parts.length === 0 ? "0" : `(${parts.join(" | ")})`;
}

/** GDB takes an enumeration for flags when each enumerator is one bit, or none. */
function isFlags(type: EnumType): boolean {
  return type.enumerators.every(({ value }) => value >= 0n && (value & (value - 1n)) === 0n);
}
