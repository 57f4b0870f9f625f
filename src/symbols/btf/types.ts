import type { TypedEnumerator, TypedVariable, TypeSource } from "../types/set.js";
import {
  ArrayType,
  type Enumerator,
  EnumType,
  FunctionType,
  type IntType,
  type Member,
  type NamedKind,
  type Parameter,
  PointerType,
  QualifiedType,
  resolve,
  StructType,
  type Type,
  TypedefType,
  voidType,
} from "../types/type.js";
import { BtfData, type BtfOptions } from "./btf.js";
import { btfInfo, btfInt, btfKind, btfMember, btfType } from "./layout.js";

/** BTF states no size of pointers, and all kernels with BTF that are read here are of 64 bits. */
const pointerSize = 8;
/** -4096 as u32: what is not less may be an error's number. */
const leastNegative = 0xfffff000;

export interface BtfTypesOptions {
  readonly name?: string;
  /** The kernel's types, which a module's refer to. */
  readonly base?: BtfTypes | undefined;
}

/**
 * The types of a kernel or of a module.
 *
 * Cost: 10 ms for the 100,000 types of a stock kernel, 15 ms more at the first look-up by name.
 *
 * @param bytes borrowed for as long as the result is used
 * @throws VmtapeError `bad-file` when it is no BTF or its header is damaged, `unsupported` for another version
 */
export function decodeBtf(bytes: Uint8Array, options: BtfTypesOptions = {}): BtfTypes {
  const { base, name } = options;
  const dataOptions: BtfOptions = { ...(name !== undefined && { name }), base: base?.data };
  return new BtfTypes(BtfData.open(bytes, dataOptions), base);
}

/** BTF as types of the common model, each made when it is asked for. */
export class BtfTypes implements TypeSource {
  private readonly made = new Map<number, Type>();
  private enumerators: Map<string, TypedEnumerator> | undefined;
  private tellsSigns: boolean | undefined;

  constructor(
    readonly data: BtfData,
    private readonly base?: BtfTypes,
  ) {}

  get name(): string {
    return this.data.name;
  }

  /** How many there are, those of the base not counted. */
  get count(): number {
    return this.data.endId - this.data.firstId;
  }

  /** The type with this id; void for ids that are out of range or stand for no type of a value. */
  typeAt(id: number): Type {
    if (id < this.data.firstId && this.base) return this.base.typeAt(id);
    const known = this.made.get(id);
    if (known) return known;
    const type = id >= this.data.firstId && id < this.data.endId ? this.make(id) : voidType;
    this.made.set(id, type);
    return type;
  }

  /** The kind of the entry with this id: one of `btfKind`; `unknown` for void and ids out of range. */
  kindAt(id: number): number {
    const owner = this.data.owner(id);
    if (!owner || id === 0) return btfKind.unknown;
    return kindOf(owner.words[owner.startOf(id) + btfType.info]!);
  }

  find(kind: NamedKind, name: string): Type | undefined {
    const wanted = kindsNamed[kind];
    for (const id of this.data.find(name)) {
      if (wanted.includes(this.kindAt(id))) return this.typeAt(id);
    }
    return undefined;
  }

  findFunction(name: string): FunctionType | undefined {
    for (const id of this.data.find(name)) {
      if (this.kindAt(id) !== btfKind.function) continue;
      const type = this.typeAt(id);
      if (type.kind === "function") return type;
    }
    return undefined;
  }

  findVariable(name: string): TypedVariable | undefined {
    for (const id of this.data.find(name)) {
      if (this.kindAt(id) === btfKind.variable) return { type: this.typeAt(id) };
    }
    return undefined;
  }

  findEnumerator(name: string): TypedEnumerator | undefined {
    this.enumerators ??= this.indexEnumerators();
    return this.enumerators.get(name);
  }

  private indexEnumerators(): Map<string, TypedEnumerator> {
    const found = new Map<string, TypedEnumerator>();
    for (let id = this.data.firstId; id < this.data.endId; id++) {
      const kind = this.kindAt(id);
      if (kind !== btfKind.enum && kind !== btfKind.enum64) continue;
      const type = this.typeAt(id);
      if (type.kind !== "enum") continue;
      for (const { name, value } of type.enumerators) if (!found.has(name)) found.set(name, { value, type });
    }
    return found;
  }

  private make(id: number): Type {
    const { words } = this.data;
    const at = this.data.startOf(id);
    const info = words[at + btfType.info]!;
    const third = words[at + btfType.sizeOrType]!;
    const name = this.data.text(words[at + btfType.name]!);
    const extra = at + btfType.words;
    const target = () => this.typeAt(third);
    const flag = info >>> btfInfo.flagShift === 1;
    switch (kindOf(info)) {
      case btfKind.int:
        return intOf(name, third, words[extra]!);
      case btfKind.float:
        return { kind: "float", name, size: third };
      case btfKind.pointer:
        return new PointerType(pointerSize, target);
      case btfKind.array: {
        const element = words[extra]!;
        // A count of 0 is also how BTF has `int table[]`.
        return new ArrayType(words[extra + 2] || undefined, () => this.typeAt(element));
      }
      case btfKind.struct:
      case btfKind.union: {
        const kind = kindOf(info) === btfKind.struct ? "struct" : "union";
        return new StructType(kind, name || undefined, third, () => this.membersAt(at));
      }
      case btfKind.enum:
        return new EnumType(name || undefined, third, this.isSigned(at), () => this.enumeratorsAt(at));
      case btfKind.enum64:
        return new EnumType(name || undefined, third, flag, () => this.wideEnumeratorsAt(at));
      case btfKind.forward:
        return { kind: "forward", of: flag ? "union" : "struct", name };
      case btfKind.typedef:
        return new TypedefType(name, target);
      case btfKind.volatile:
        return new QualifiedType("volatile", target);
      case btfKind.const:
        return new QualifiedType("const", target);
      case btfKind.restrict:
        return new QualifiedType("restrict", target);
      case btfKind.prototype:
        return this.prototypeAt(at);
      // These stand for what they refer to.
      case btfKind.function:
      case btfKind.variable:
      case btfKind.typeTag:
        return this.behind(third);
      default:
        return voidType;
    }
  }

  /** What a chain of tags, variables and functions ends at; such a chain is short, or has no end. */
  private behind(id: number): Type {
    let at = id;
    for (let steps = 0; steps < 16; steps++) {
      const owner = this.data.owner(at);
      const kind = this.kindAt(at);
      if (kind !== btfKind.function && kind !== btfKind.variable && kind !== btfKind.typeTag) break;
      at = owner!.words[owner!.startOf(at) + btfType.sizeOrType]!;
      if (steps === 15) return voidType;
    }
    return this.typeAt(at);
  }

  private membersAt(at: number): Member[] {
    const { words } = this.data;
    const info = words[at + btfType.info]!;
    const hasWidths = info >>> btfInfo.flagShift === 1;
    const members: Member[] = [];
    const count = info & btfInfo.countMask;
    for (let i = 0, entry = at + btfType.words; i < count; i++, entry += 3) {
      const name = this.data.text(words[entry]!) || undefined;
      const typeId = words[entry + 1]!;
      const offset = words[entry + 2]!;
      let bits = hasWidths ? offset & btfMember.offsetMask : offset;
      let width = hasWidths ? offset >>> btfMember.bitSizeShift : 0;
      const type = this.typeAt(typeId);
      if (!hasWidths) {
        const narrow = this.narrowInt(type, typeId);
        bits += narrow?.offset ?? 0;
        width = narrow?.bits ?? 0;
      }
      const byteOffset = Math.floor(bits / 8);
      if (width === 0 && bits % 8 === 0) members.push({ name, type, byteOffset });
      else members.push({ name, type, byteOffset, bitOffset: bits % 8, bitSize: width });
    }
    return members;
  }

  /** Before kernel 5.0 a bit field was an int of its own that has fewer bits than its bytes. */
  private narrowInt(type: Type, id: number): { bits: number; offset: number } | undefined {
    const plain = resolve(type);
    if (plain.kind !== "int" || this.kindAt(id) !== btfKind.int) return undefined;
    const owner = this.data.owner(id)!;
    const encoding = owner.words[owner.startOf(id) + btfType.words]!;
    const bits = encoding & btfInt.bitsMask;
    const offset = (encoding >>> btfInt.offsetShift) & btfInt.offsetMask;
    return bits === 0 || (bits === plain.size * 8 && offset === 0) ? undefined : { bits, offset };
  }

  private enumeratorsAt(at: number): Enumerator[] {
    const { words } = this.data;
    const info = words[at + btfType.info]!;
    const signed = this.isSigned(at);
    const found: Enumerator[] = [];
    for (let i = 0, entry = at + btfType.words; i < (info & btfInfo.countMask); i++, entry += 2) {
      const word = words[entry + 1]!;
      found.push({ name: this.data.text(words[entry]!), value: BigInt(signed ? word | 0 : word) });
    }
    return found;
  }

  /**
   * Before pahole 1.24 (kernels up to 6.0) no flag told signed values apart. There, values are taken for signed when one
   * would be a small negative number, such as -1 or an error; a lone highest bit is a flag.
   */
  private isSigned(at: number): boolean {
    const { words } = this.data;
    const info = words[at + btfType.info]!;
    if (info >>> btfInfo.flagShift === 1) return true;
    this.tellsSigns ??= this.base?.tellsSigns || this.hasSignedEnum();
    if (this.tellsSigns) return false;
    const first = at + btfType.words;
    for (let i = 0; i < (info & btfInfo.countMask); i++) {
      if (words[first + i * 2 + 1]! >= leastNegative) return true;
    }
    return false;
  }

  private hasSignedEnum(): boolean {
    const { words, firstId, endId } = this.data;
    for (let id = firstId; id < endId; id++) {
      const info = words[this.data.startOf(id) + btfType.info]!;
      const kind = kindOf(info);
      if (kind === btfKind.enum64 || (kind === btfKind.enum && info >>> btfInfo.flagShift === 1)) return true;
    }
    return false;
  }

  private wideEnumeratorsAt(at: number): Enumerator[] {
    const { words } = this.data;
    const info = words[at + btfType.info]!;
    const found: Enumerator[] = [];
    for (let i = 0, entry = at + btfType.words; i < (info & btfInfo.countMask); i++, entry += 3) {
      const value = (BigInt(words[entry + 2]!) << 32n) | BigInt(words[entry + 1]!);
      const signed = info >>> btfInfo.flagShift === 1;
      found.push({
        name: this.data.text(words[entry]!),
        value: signed ? BigInt.asIntN(64, value) : value,
      });
    }
    return found;
  }

  private prototypeAt(at: number): FunctionType {
    const { words } = this.data;
    const result = words[at + btfType.sizeOrType]!;
    const count = words[at + btfType.info]! & btfInfo.countMask;
    const first = at + btfType.words;
    // A last parameter with neither name nor type stands for `...`.
    const last = first + (count - 1) * 2;
    const variadic = count > 0 && words[last] === 0 && words[last + 1] === 0;
    const parameters = (): Parameter[] => {
      const list: Parameter[] = [];
      for (let i = 0; i < count - (variadic ? 1 : 0); i++) {
        const name = this.data.text(words[first + i * 2]!) || undefined;
        list.push({ name, type: this.typeAt(words[first + i * 2 + 1]!) });
      }
      return list;
    };
    return new FunctionType(() => this.typeAt(result), parameters, variadic);
  }
}

const kindsNamed: Readonly<Record<NamedKind, readonly number[]>> = {
  struct: [btfKind.struct],
  class: [],
  union: [btfKind.union],
  enum: [btfKind.enum, btfKind.enum64],
  typedef: [btfKind.typedef],
  base: [btfKind.int, btfKind.float],
};

function kindOf(info: number): number {
  return (info >>> btfInfo.kindShift) & btfInfo.kindMask;
}

function intOf(name: string, size: number, word: number): IntType {
  const encoding = word >>> btfInt.encodingShift;
  return {
    kind: "int",
    name,
    size,
    signed: (encoding & btfInt.signed) !== 0,
    style: encoding & btfInt.bool ? "bool" : encoding & btfInt.char ? "char" : "number",
  };
}
