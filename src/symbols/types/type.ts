import { VmtapeError } from "../../base/errors.js";

/**
 * Types of the guest's programs as C and its relatives know them: one model, whether they were read from BTF or from
 * DWARF. What a type refers to is decoded when it is first asked for, so that a kernel's 100,000 types cost nothing
 * until they are used; objects compare by identity within one source.
 *
 * All sizes and offsets are bytes and below 2^53, unless a name says bits.
 */
export type Type =
  | VoidType
  | IntType
  | FloatType
  | EnumType
  | PointerType
  | ArrayType
  | StructType
  | FunctionType
  | TypedefType
  | QualifiedType
  | ForwardType;

/** What types are named as: the tag's word in C, `typedef`, or `base` for int and its kin. */
export type NamedKind = "struct" | "class" | "union" | "enum" | "typedef" | "base";

export interface VoidType {
  readonly kind: "void";
}

export interface IntType {
  readonly kind: "int";
  readonly name: string;
  readonly size: number;
  readonly signed: boolean;
  /** `char`: said to be a character; `bool`: printed as true and false. */
  readonly style: "number" | "char" | "bool";
}

export interface FloatType {
  readonly kind: "float";
  readonly name: string;
  readonly size: number;
}

export interface Enumerator {
  readonly name: string;
  readonly value: bigint;
}

/** What is decoded at first use: asked for once, kept. */
class Lazy<T> {
  private load: (() => T) | undefined;
  private value: T | undefined;

  constructor(load: () => T) {
    this.load = load;
  }

  get(): T {
    if (this.load) {
      const { load } = this;
      this.value = load();
      this.load = undefined;
    }
    return this.value as T;
  }
}

/** An enumeration; `name` is undefined for one without a tag. */
export class EnumType {
  readonly kind = "enum";
  private readonly lazy: Lazy<readonly Enumerator[]>;

  constructor(
    readonly name: string | undefined,
    readonly size: number,
    readonly signed: boolean,
    enumerators: () => readonly Enumerator[],
    /** As in C++ and Rust, where types are named without `struct`, `enum` and the like. */
    readonly isTagless = false,
  ) {
    this.lazy = new Lazy(enumerators);
  }

  /** In the order of the source. */
  get enumerators(): readonly Enumerator[] {
    return this.lazy.get();
  }
}

/** A pointer, or a C++ reference. */
export class PointerType {
  readonly kind = "pointer";
  private readonly lazy: Lazy<Type>;

  constructor(
    readonly size: number,
    target: () => Type,
    readonly reference: "lvalue" | "rvalue" | undefined = undefined,
  ) {
    this.lazy = new Lazy(target);
  }

  get target(): Type {
    return this.lazy.get();
  }
}

/** An array; `count` is undefined where the source states none (`int table[]`). */
export class ArrayType {
  readonly kind = "array";
  private readonly lazy: Lazy<Type>;

  constructor(
    readonly count: number | undefined,
    element: () => Type,
  ) {
    this.lazy = new Lazy(element);
  }

  get element(): Type {
    return this.lazy.get();
  }
}

/** Where a member lies. */
export interface Place {
  readonly type: Type;
  /** From the start of the structure; of a bit field, the byte that holds its first bit. */
  readonly byteOffset: number;
  /** Of a bit field: bits from the lowest of that byte, 0 to 7. */
  readonly bitOffset?: number;
  /** Of a bit field: how many bits it has. */
  readonly bitSize?: number;
}

export interface Member extends Place {
  /** Undefined for an anonymous struct or union, whose members belong to the outer one. */
  readonly name: string | undefined;
  /** A C++ base class; its members belong to the derived one. */
  readonly isBase?: boolean;
}

/**
 * The alternatives of an enum of Rust. They lie over one another; the discriminant says which of them is meant. Without
 * one there is but one.
 */
export interface Variants {
  readonly discriminant: Member | undefined;
  readonly list: readonly Variant[];
}

export interface Variant {
  /** What the discriminant is, as unsigned bits; undefined for the one that stands for all other values. */
  readonly value: bigint | undefined;
  readonly member: Member;
}

/** No structure has its members deeper inside anonymous ones, or in more of them, unless it is made to harm. */
const deepestAnonymous = 32;
const mostAnonymous = 1 << 12;
const mostMembers = 1 << 16;

/** A structure, union or class; `name` is undefined for one without a tag. */
export class StructType {
  private readonly lazy: Lazy<readonly Member[]>;
  private byName: Map<string, Place> | undefined;

  constructor(
    readonly kind: "struct" | "union" | "class",
    readonly name: string | undefined,
    readonly size: number,
    members: () => readonly Member[],
    /** As in C++ and Rust, where types are named without `struct`, `enum` and the like. */
    readonly isTagless = false,
    /** Of Rust: the alternatives of an enum, which has no members of its own; undefined for a structure. */
    readonly rust?: { readonly variants: () => Variants | undefined },
  ) {
    this.lazy = new Lazy(members);
  }

  /** In the order of the source. */
  get members(): readonly Member[] {
    return this.lazy.get();
  }

  /**
   * A member, found in anonymous members and base classes too. A path goes deeper: `se.vruntime`, offsets adding up.
   * Fast after the first call on a structure.
   */
  findMember(path: string): Place | undefined {
    let place: Place | undefined;
    let owner: Type = this;
    for (const name of path.split(".")) {
      if (!isStruct(owner)) return undefined;
      owner.byName ??= owner.indexMembers();
      const found: Place | undefined = owner.byName.get(name);
      if (!found) return undefined;
      place = place ? { ...found, byteOffset: place.byteOffset + found.byteOffset } : found;
      owner = resolve(found.type);
    }
    return place;
  }

  /**
   * As `findMember`.
   *
   * @throws VmtapeError `not-found` when there is no such member
   */
  member(path: string): Place {
    const place = this.findMember(path);
    if (place) return place;
    const title = `${this.kind} ${this.name ?? "{...}"}`;
    throw new VmtapeError("not-found", `${title} has no member '${path}'`, { got: path, type: title });
  }

  /** The names of all members that `findMember` finds. */
  get memberNames(): string[] {
    this.byName ??= this.indexMembers();
    return [...this.byName.keys()];
  }

  private indexMembers(): Map<string, Place> {
    const found = new Map<string, Place>();
    addMembers({ found, left: mostAnonymous }, this, 0, 0);
    return found;
  }
}

interface MemberIndex {
  readonly found: Map<string, Place>;
  /** How many more structures are looked into. */
  left: number;
}

function addMembers(index: MemberIndex, owner: StructType, base: number, depth: number): void {
  if (depth > deepestAnonymous || index.left-- <= 0) return;
  const { found } = index;
  for (const member of owner.members) {
    if (found.size >= mostMembers) return;
    const { name, isBase, ...rest } = member;
    const place: Place = base === 0 ? rest : { ...rest, byteOffset: base + rest.byteOffset };
    // The outermost of one name wins, as in C++; in C there is only one.
    if (name !== undefined && (depth === 0 || !found.has(name))) found.set(name, place);
    if (name !== undefined && !isBase) continue;
    const inner = resolve(rest.type);
    if (isStruct(inner)) addMembers(index, inner, place.byteOffset, depth + 1);
  }
}

export interface Parameter {
  readonly name: string | undefined;
  readonly type: Type;
}

/** The type of a function: its prototype. */
export class FunctionType {
  readonly kind = "function";
  private readonly lazyResult: Lazy<Type>;
  private readonly lazyParameters: Lazy<readonly Parameter[]>;

  constructor(
    result: () => Type,
    parameters: () => readonly Parameter[],
    readonly variadic: boolean,
    /** False for `int f()` of C, which says nothing of its parameters. */
    readonly prototyped = true,
  ) {
    this.lazyResult = new Lazy(result);
    this.lazyParameters = new Lazy(parameters);
  }

  get result(): Type {
    return this.lazyResult.get();
  }

  get parameters(): readonly Parameter[] {
    return this.lazyParameters.get();
  }
}

export class TypedefType {
  readonly kind = "typedef";
  private readonly lazy: Lazy<Type>;

  constructor(
    readonly name: string,
    target: () => Type,
  ) {
    this.lazy = new Lazy(target);
  }

  get target(): Type {
    return this.lazy.get();
  }
}

export class QualifiedType {
  private readonly lazy: Lazy<Type>;

  constructor(
    readonly kind: "const" | "volatile" | "restrict" | "atomic",
    target: () => Type,
  ) {
    this.lazy = new Lazy(target);
  }

  get target(): Type {
    return this.lazy.get();
  }
}

/** A structure or enumeration of which only the name is known. */
export interface ForwardType {
  readonly kind: "forward";
  readonly of: "struct" | "union" | "class" | "enum";
  readonly name: string;
}

export const voidType: VoidType = { kind: "void" };

/** No chain of typedefs, qualifiers and arrays is longer, unless it bites its tail. */
const longestChain = 256;

/**
 * The type behind typedefs and qualifiers.
 *
 * @throws VmtapeError `bad-file` for a chain without end
 */
export function resolve(type: Type): Exclude<Type, TypedefType | QualifiedType> {
  let at = type;
  for (let steps = 0; steps < longestChain; steps++) {
    switch (at.kind) {
      case "typedef":
      case "const":
      case "volatile":
      case "restrict":
      case "atomic":
        at = at.target;
        break;
      default:
        return at;
    }
  }
  throw endless();
}

export function isStruct(type: Type): type is StructType {
  return type.kind === "struct" || type.kind === "union" || type.kind === "class";
}

/**
 * Bytes of a value; 0 for an array without a count and for what has no values (a forward declaration). As GDB has
 * it, void and functions are 1 byte.
 *
 * @throws VmtapeError `bad-file` for a type that contains itself
 */
export function sizeOf(type: Type): number {
  let count = 1;
  let at = resolve(type);
  for (let steps = 0; at.kind === "array"; steps++) {
    if (steps === longestChain) throw endless();
    count *= at.count ?? 0;
    at = resolve(at.element);
  }
  switch (at.kind) {
    case "void":
    case "function":
      return count;
    case "forward":
      return 0;
    default:
      return Math.min(count * at.size, Number.MAX_SAFE_INTEGER);
  }
}

function endless(): VmtapeError {
  return new VmtapeError("bad-file", "a type refers to itself without end");
}
