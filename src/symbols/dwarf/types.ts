import type { VmtapeError } from "../../base/errors.js";
import { viewOf } from "../elf/elf.js";
import { builtin, pointerSize } from "../types/builtin.js";
import type { TypedEnumerator, TypedVariable, TypeSource } from "../types/set.js";
import {
  ArrayType,
  type Enumerator,
  EnumType,
  type ForwardType,
  FunctionType,
  type Member,
  type NamedKind,
  type Parameter,
  PointerType,
  QualifiedType,
  StructType,
  type Type,
  TypedefType,
  type Variant,
  type Variants,
  voidType,
} from "../types/type.js";
import { DwarfEntries, type DwarfEntry } from "./entries.js";
import { evaluateExpression } from "./expression.js";
import type { DwarfFile } from "./file.js";
import { cLanguages } from "./layout.js";
import { DwarfTypeIndex, nameSpace } from "./type-index.js";
import { baseEncoding, locationOp, typeAttribute, typeTag } from "./type-layout.js";

/** `DW_LANG_Rust`. */
const rustLanguage = 0x1c;
/** No enum has more alternatives. */
const mostVariants = 1 << 16;
/** Variants within variants: more is damage. */
const deepestVariants = 8;

/**
 * The types of a program with DWARF, each made when it is asked for. Looking one up by name reads the names of all
 * units once: about a second for a kernel.
 *
 * What is damaged gives fewer types: void, or a structure that is only declared.
 */
export class DwarfTypes implements TypeSource {
  readonly entries: DwarfEntries;
  private readonly made = new Map<number, Type>();
  private lazyIndex: DwarfTypeIndex | undefined;
  private enumerators: Map<string, TypedEnumerator> | undefined;

  /** @param file must stay readable for as long as the types are used */
  constructor(file: DwarfFile) {
    this.entries = new DwarfEntries(file);
  }

  get name(): string {
    return this.entries.file.name;
  }

  private get index(): DwarfTypeIndex {
    this.lazyIndex ??= new DwarfTypeIndex(this.entries);
    return this.lazyIndex;
  }

  find(kind: NamedKind, name: string): Type | undefined {
    const offset = this.index.find(nameSpace[kind], name);
    if (offset !== undefined) return this.typeAt(offset);
    return kind === "typedef" ? this.findTagless(name) : undefined;
  }

  /** C++ and Rust name structures as C does typedefs. */
  private findTagless(name: string): Type | undefined {
    for (const kind of ["struct", "class", "union", "enum"] as const) {
      const offset = this.index.find(nameSpace[kind], name);
      const entry = offset === undefined ? undefined : this.entries.at(offset);
      if (entry && !cLanguages.has(entry.unit.language)) return this.typeAt(entry.offset);
    }
    return undefined;
  }

  findFunction(name: string): FunctionType | undefined {
    const offset = this.index.find(nameSpace.function, name);
    const type = offset === undefined ? undefined : this.typeAt(offset);
    return type?.kind === "function" ? type : undefined;
  }

  findVariable(name: string): TypedVariable | undefined {
    const offset = this.index.find(nameSpace.variable, name);
    const entry = offset === undefined ? undefined : this.entries.at(offset);
    if (!entry) return undefined;
    const address = this.staticAddress(entry);
    const constant = address === undefined ? this.constantOf(entry) : undefined;
    const hasPlace = this.entries.withAttribute(entry, typeAttribute.location) !== undefined;
    const isGone =
      constant === undefined && !hasPlace && !this.entries.flag(entry, typeAttribute.declaration);
    return { type: this.typeOf(entry), address, constant, ...(isGone && { isGone }) };
  }

  findEnumerator(name: string): TypedEnumerator | undefined {
    this.enumerators ??= this.indexEnumerators();
    return this.enumerators.get(name);
  }

  private indexEnumerators(): Map<string, TypedEnumerator> {
    const found = new Map<string, TypedEnumerator>();
    const seen = new Set<string>();
    for (const offset of this.index.enumerations) {
      const entry = this.entries.at(offset);
      const name = entry && this.entries.name(entry);
      // Every unit of C repeats the enumerations of its headers.
      if (name !== undefined && (cLanguages.has(entry!.unit.language) ? seen.has(name) : false)) continue;
      if (name !== undefined) seen.add(name);
      const type = this.typeAt(offset);
      if (type.kind !== "enum") continue;
      const scope = this.index.scopeOf(offset);
      for (const enumerator of type.enumerators) {
        const { value } = enumerator;
        for (const key of [enumerator.name, scope + enumerator.name]) {
          if (!found.has(key)) found.set(key, { value, type });
        }
      }
    }
    return found;
  }

  /** The address of a variable that is at the same one always. */
  private staticAddress(entry: DwarfEntry): bigint | undefined {
    const block = this.entries.block(entry, typeAttribute.location);
    if (block?.length !== 9 || block[0] !== locationOp.addr) return undefined;
    return viewOf(block).getBigUint64(1, true);
  }

  private constantOf(entry: DwarfEntry): bigint | undefined {
    const owner = this.entries.withAttribute(entry, typeAttribute.constValue);
    return owner && this.entries.wide(owner, typeAttribute.constValue);
  }

  /** The type that an entry's DW_AT_type, or that of what it stands for, names; void without one. */
  typeOf(entry: DwarfEntry): Type {
    const owner = this.entries.withAttribute(entry, typeAttribute.type);
    const offset = owner && this.entries.reference(owner, typeAttribute.type);
    if (offset !== undefined) return this.typeAt(offset);
    return owner ? elsewhere : voidType;
  }

  /** The type whose entry is at an offset. */
  typeAt(offset: number): Type {
    const known = this.made.get(offset);
    if (known) return known;
    const entry = this.entries.at(offset);
    const type = entry ? this.make(entry) : voidType;
    this.made.set(offset, type);
    return type;
  }

  private make(entry: DwarfEntry): Type {
    const { entries } = this;
    const target = () => this.typeOf(entry);
    const size = entries.number(entry, typeAttribute.byteSize);
    switch (entry.tag) {
      case typeTag.base:
        return this.baseType(entry, size ?? 0);
      case typeTag.pointer:
        return new PointerType(size ?? pointerSize, target);
      case typeTag.reference:
        return new PointerType(size ?? pointerSize, target, "lvalue");
      case typeTag.rvalueReference:
        return new PointerType(size ?? pointerSize, target, "rvalue");
      case typeTag.pointerToMember:
        return builtin.long;
      case typeTag.array:
        return this.arrayType(entry);
      case typeTag.structure:
        return this.structType(entry, "struct", size);
      case typeTag.class:
        return this.structType(entry, "class", size);
      case typeTag.union:
        return this.structType(entry, "union", size);
      case typeTag.enumeration:
        return this.enumType(entry, size);
      case typeTag.typedef:
        return new TypedefType(this.fullName(entry) ?? "", target);
      case typeTag.const:
        return new QualifiedType("const", target);
      case typeTag.volatile:
        return new QualifiedType("volatile", target);
      case typeTag.restrict:
        return new QualifiedType("restrict", target);
      case typeTag.atomic:
        return new QualifiedType("atomic", target);
      case typeTag.subroutine:
      case typeTag.subprogram:
        return this.functionType(entry);
      default:
        return voidType;
    }
  }

  /** With its namespaces; in C there are none, and nothing has to be looked up. */
  private fullName(entry: DwarfEntry): string | undefined {
    const name = this.entries.name(entry);
    if (name === undefined || cLanguages.has(entry.unit.language)) return name;
    return this.index.scopeOf(entry.offset) + name;
  }

  private baseType(entry: DwarfEntry, size: number): Type {
    const name = this.entries.name(entry) ?? "";
    const encoding = this.entries.number(entry, typeAttribute.encoding);
    if (encoding === baseEncoding.float) return { kind: "float", name, size };
    if (encoding === baseEncoding.complexFloat)
      return new ArrayType(2, () => ({ kind: "float", name, size: size / 2 }));
    return {
      kind: "int",
      name,
      size,
      signed: encoding === baseEncoding.signed || encoding === baseEncoding.signedChar,
      style: encoding === baseEncoding.boolean ? "bool" : encoding === baseEncoding.utf ? "char" : "number",
    };
  }

  private arrayType(entry: DwarfEntry): Type {
    const counts: (number | undefined)[] = [];
    this.entries.children(entry, (child) => {
      if (child.tag !== typeTag.subrange) return false;
      const count = this.entries.number(child, typeAttribute.count);
      const upper = this.entries.number(child, typeAttribute.upperBound);
      // An upper bound of all ones is none.
      const last = upper === undefined || upper >= 0xffffffff ? undefined : upper + 1;
      counts.push(count ?? last);
      return counts.length >= 32;
    });
    let make: () => Type = () => this.typeOf(entry);
    if (counts.length === 0) counts.push(undefined);
    for (let i = counts.length - 1; i > 0; i--) {
      const inner = make;
      const count = counts[i];
      let array: ArrayType | undefined;
      make = () => (array ??= new ArrayType(count, inner));
    }
    return new ArrayType(counts[0], make);
  }

  private structType(entry: DwarfEntry, kind: StructType["kind"], size: number | undefined): Type {
    const { entries } = this;
    const name = this.fullName(entry);
    const isTagless = !cLanguages.has(entry.unit.language);
    if (entries.flag(entry, typeAttribute.declaration) || entry.attributes.has(typeAttribute.signature)) {
      return this.complete(kind, name) ?? { kind: "forward", of: kind, name: name ?? "" };
    }
    const isRust = entry.unit.language === rustLanguage;
    const rust = isRust ? { variants: () => this.variants(entry) } : undefined;
    return new StructType(kind, name, size ?? 0, () => this.members(entry), isTagless, rust);
  }

  /** The alternatives of Rust's enum. */
  private variants(entry: DwarfEntry): Variants | undefined {
    const { entries } = this;
    let part: DwarfEntry | undefined;
    entries.children(entry, (child) => {
      if (child.tag === typeTag.variantPart) part = child;
      return part !== undefined;
    });
    if (!part) return undefined;
    const chosenBy = entries.reference(part, typeAttribute.discriminant);
    let discriminant: Member | undefined;
    const list: Variant[] = [];
    entries.children(part, (child) => {
      if (child.tag === typeTag.member && child.offset === chosenBy) discriminant = this.member(child);
      if (child.tag !== typeTag.variant) return false;
      const value = entries.wide(child, typeAttribute.discriminantValue);
      const [member] = this.members(child);
      if (member) list.push({ value, member });
      return list.length >= mostVariants;
    });
    return { discriminant, list };
  }

  /** What is only declared in one unit may be whole in another. */
  private complete(kind: "struct" | "class" | "union" | "enum", name: string | undefined): Type | undefined {
    if (name === undefined) return undefined;
    const offset = this.index.find(nameSpace[kind], name);
    const other = offset === undefined ? undefined : this.entries.at(offset);
    if (!other || this.entries.flag(other, typeAttribute.declaration)) return undefined;
    return this.typeAt(other.offset);
  }

  private members(entry: DwarfEntry, depth = 0): Member[] {
    const { entries } = this;
    const members: Member[] = [];
    entries.children(entry, (child) => {
      if (child.tag === typeTag.member || child.tag === typeTag.inheritance) {
        const member = this.member(child);
        if (member) members.push(member);
      } else if (child.tag === typeTag.variantPart || child.tag === typeTag.variant) {
        // Rust's enums: all variants lie over one another, as in a union.
        if (depth < deepestVariants) members.push(...this.members(child, depth + 1));
      }
      return false;
    });
    return members;
  }

  /** Undefined for a static member, which lies elsewhere, and where only the object itself says where it lies. */
  private member(entry: DwarfEntry): Member | undefined {
    const { entries } = this;
    if (entries.flag(entry, typeAttribute.external) || entries.flag(entry, typeAttribute.declaration))
      return undefined;
    const type = this.typeOf(entry);
    const isBase = entry.tag === typeTag.inheritance;
    const named = type.kind === "struct" || type.kind === "class" ? type.name : undefined;
    const name = isBase ? (named ?? "base") : entries.name(entry);
    const byteOffset = this.memberOffset(entry);
    if (byteOffset === undefined) return undefined;
    const bitSize = entries.number(entry, typeAttribute.bitSize);
    if (bitSize === undefined) return { name, type, byteOffset, ...(isBase && { isBase }) };
    const bits = byteOffset * 8 + this.firstBit(entry, bitSize, type);
    return { name, type, byteOffset: Math.floor(bits / 8), bitOffset: bits % 8, bitSize };
  }

  private memberOffset(entry: DwarfEntry): number | undefined {
    const constant = this.entries.number(entry, typeAttribute.memberLocation);
    if (constant !== undefined) return constant;
    const block = this.entries.block(entry, typeAttribute.memberLocation);
    if (!block) return 0;
    try {
      const unknown = { register: () => undefined, memory: () => undefined };
      const offset = evaluateExpression(block, unknown, 0n);
      return offset === undefined || offset > 0xffffffffn ? undefined : Number(offset);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  /** The lowest bit, from the byte that the member's location names. Before DWARF 4 counted from the other end. */
  private firstBit(entry: DwarfEntry, bitSize: number, type: Type): number {
    const { entries } = this;
    const fromStart = entries.number(entry, typeAttribute.dataBitOffset);
    if (fromStart !== undefined) return fromStart;
    const fromEnd = entries.number(entry, typeAttribute.bitOffset) ?? 0;
    const size = entries.number(entry, typeAttribute.byteSize) ?? ("size" in type ? type.size : 4);
    return Math.max(0, size * 8 - fromEnd - bitSize);
  }

  private enumType(entry: DwarfEntry, size: number | undefined): Type {
    const { entries } = this;
    const name = this.fullName(entry);
    if (entries.flag(entry, typeAttribute.declaration)) {
      return this.complete("enum", name) ?? { kind: "forward", of: "enum", name: name ?? "" };
    }
    const isTagless = !cLanguages.has(entry.unit.language);
    const prefix = this.enumeratorPrefix(entry, name, isTagless);
    const list: Enumerator[] = [];
    entries.children(entry, (child) => {
      if (child.tag === typeTag.enumerator) {
        const value = entries.wide(child, typeAttribute.constValue) ?? 0n;
        list.push({ name: prefix + (entries.name(child) ?? ""), value });
      }
      return false;
    });
    const signed = list.some(({ value }) => value < 0n);
    return new EnumType(name, size ?? 4, signed, () => list, isTagless);
  }

  /** `Color::` of C++'s enum class; else the namespaces that a plain enumerator belongs to. */
  private enumeratorPrefix(entry: DwarfEntry, name: string | undefined, isTagless: boolean): string {
    if (!isTagless) return "";
    if (name !== undefined && this.entries.flag(entry, typeAttribute.enumClass)) return `${name}::`;
    return this.index.scopeOf(entry.offset);
  }

  private functionType(entry: DwarfEntry): FunctionType {
    const { entries } = this;
    let variadic = false;
    const parameters: Parameter[] = [];
    entries.children(entry, (child) => {
      if (child.tag === typeTag.unspecifiedParameters) variadic = true;
      if (child.tag !== typeTag.formalParameter) return false;
      const named = entries.withAttribute(child, typeAttribute.name);
      parameters.push({ name: named && entries.name(named), type: this.typeOf(child) });
      return false;
    });
    const owner = entries.withAttribute(entry, typeAttribute.prototyped);
    const prototyped = owner !== undefined || !cLanguages.has(entry.unit.language);
    return new FunctionType(
      () => this.typeOf(entry),
      () => parameters,
      variadic,
      prototyped || parameters.length > 0,
    );
  }
}

/** A type in a type unit or a shared file: not read here. */
const elsewhere: ForwardType = { kind: "forward", of: "struct", name: "<type in another unit>" };

function isDamage(error: unknown): error is VmtapeError {
  return error instanceof Error && error.name === "VmtapeError";
}
