import { VmtapeError } from "../../base/errors.js";
import { parseTypeName } from "./parser.js";
import type { EnumType, FunctionType, NamedKind, StructType, Type } from "./type.js";

export interface TypedEnumerator {
  readonly value: bigint;
  readonly type: EnumType;
}

/** A variable as a source of types declares it. */
export interface TypedVariable {
  readonly type: Type;
  /** Where it lies, before any bias; undefined when only symbols tell. */
  readonly address?: bigint | undefined;
  /** What it always is, where it lies nowhere: a constant of a class. */
  readonly constant?: bigint | undefined;
  /** The compiler has kept no place for it, and no value. */
  readonly isGone?: boolean;
}

/** Types by name, from one file or one stretch of memory. */
export interface TypeSource {
  readonly name: string;
  find(kind: NamedKind, name: string): Type | undefined;
  findFunction(name: string): FunctionType | undefined;
  findVariable(name: string): TypedVariable | undefined;
  findEnumerator(name: string): TypedEnumerator | undefined;
}

/**
 * Types by name over any number of sources; the one added first answers first. `find…` gives undefined for what there
 * is not, the others throw.
 */
export class Types implements TypeSource {
  readonly name = "types";
  private readonly sources: TypeSource[];
  private readonly parsed = new Map<string, Type>();

  constructor(...sources: readonly TypeSource[]) {
    this.sources = [...sources];
  }

  /** Adds a source that answers for what the others do not know: a module, a program. */
  add(source: TypeSource): void {
    this.sources.push(source);
    this.parsed.clear();
  }

  /** What answers, in order. */
  get all(): readonly TypeSource[] {
    return this.sources;
  }

  /** The structure with this tag. @throws VmtapeError `not-found` */
  struct(name: string): StructType {
    return this.findStruct(name) ?? missing(`struct ${name}`);
  }

  findStruct(name: string): StructType | undefined {
    return (this.find("struct", name) ?? this.find("class", name)) as StructType | undefined;
  }

  /** The union with this tag. @throws VmtapeError `not-found` */
  union(name: string): StructType {
    return (this.find("union", name) as StructType | undefined) ?? missing(`union ${name}`);
  }

  /** The enumeration with this tag. @throws VmtapeError `not-found` */
  enum(name: string): EnumType {
    return (this.find("enum", name) as EnumType | undefined) ?? missing(`enum ${name}`);
  }

  /**
   * The type that C text names: `struct file *`, `const char *`, `unsigned long`, `pid_t [2]`.
   *
   * @throws VmtapeError `usage` for what is no type name, `not-found` for a name that is not known
   */
  type(text: string): Type {
    let type = this.parsed.get(text);
    if (!type) {
      type = parseTypeName(text, this);
      this.parsed.set(text, type);
    }
    return type;
  }

  /** A type by its kind and name; a complete one before one that is only declared. */
  find(kind: NamedKind, name: string): Type | undefined {
    return this.firstOf((source) => {
      const found = source.find(kind, name);
      return found?.kind === "forward" ? undefined : found;
    });
  }

  /** The prototype of a function. */
  findFunction(name: string): FunctionType | undefined {
    return this.firstOf((source) => source.findFunction(name));
  }

  /** A variable's type; BTF knows per-CPU variables only. */
  findVariable(name: string): TypedVariable | undefined {
    return this.firstOf((source) => source.findVariable(name));
  }

  findEnumerator(name: string): TypedEnumerator | undefined {
    return this.firstOf((source) => source.findEnumerator(name));
  }

  private firstOf<T>(ask: (source: TypeSource) => T | undefined): T | undefined {
    for (const source of this.sources) {
      const found = ask(source);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function missing(what: string): never {
  throw new VmtapeError("not-found", `no ${what} is known`, { got: what });
}
