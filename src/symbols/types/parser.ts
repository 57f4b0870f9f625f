import type { VmtapeError } from "../../base/errors.js";
import { builtin, builtinFloat, builtinTypedefs, pointerSize } from "./builtin.js";
import { expressionError, type Token, tokenize } from "./token.js";
import {
  ArrayType,
  FunctionType,
  type NamedKind,
  PointerType,
  QualifiedType,
  type Type,
  voidType,
} from "./type.js";

/** Who knows the names of types. */
export interface TypeNames {
  find(kind: NamedKind, name: string): Type | undefined;
}

/** Tokens of an expression, and how far they are read. */
export class TokenCursor {
  private index = 0;
  readonly tokens: readonly Token[];

  constructor(readonly text: string) {
    this.tokens = tokenize(text);
  }

  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.index + ahead, this.tokens.length - 1)]!;
  }

  next(): Token {
    const token = this.peek();
    this.index++;
    return token;
  }

  /** Takes the next token when it is this sign or word. */
  take(text: string): boolean {
    const { kind, text: found } = this.peek();
    if (found !== text || (kind !== "sign" && kind !== "name")) return false;
    this.index++;
    return true;
  }

  expect(text: string): void {
    if (!this.take(text)) throw this.unexpected(`'${text}'`);
  }

  get mark(): number {
    return this.index;
  }

  rewind(mark: number): void {
    this.index = mark;
  }

  unexpected(expected: string): VmtapeError {
    const { kind, text, column } = this.peek();
    const got = kind === "end" ? "the end" : `'${text}'`;
    return this.error(column, `expected ${expected}, got ${got}`);
  }

  error(column: number, what: string, facts?: Readonly<Record<string, unknown>>): VmtapeError {
    return expressionError(this.text, column, what, facts);
  }
}

const tags = new Set(["struct", "union", "enum", "class"]);
const qualifiers = new Map<string, QualifiedType["kind"]>([
  ["const", "const"],
  ["volatile", "volatile"],
  ["restrict", "restrict"],
  ["__restrict", "restrict"],
  ["_Atomic", "atomic"],
]);
/** Annotations of the kernel that mean nothing here. */
const ignored = new Set(["__user", "__kernel", "__iomem", "__rcu", "__percpu", "__force"]);
const words = new Set([
  "void",
  "char",
  "short",
  "int",
  "long",
  "signed",
  "unsigned",
  "float",
  "double",
  "_Bool",
  "bool",
  "__int128",
]);
const deepestDeclarator = 32;

/**
 * The type a C type name means.
 *
 * @throws VmtapeError `usage` for what is no type name, `not-found` for a name that is not known
 */
export function parseTypeName(text: string, names: TypeNames): Type {
  const cursor = new TokenCursor(text);
  const type = parseType(cursor, names);
  if (cursor.peek().kind !== "end") throw cursor.unexpected("the end of a type");
  return type;
}

/** Does a type's name start here? A bare tag counts in `(file *)`, where no value can be meant. */
export function startsType(cursor: TokenCursor, names: TypeNames): boolean {
  const { kind, text } = cursor.peek();
  if (kind !== "name") return false;
  if (tags.has(text)) return cursor.peek(1).kind === "name";
  if (words.has(text) || qualifiers.has(text)) return true;
  if (names.find("typedef", text) || names.find("base", text)) return true;
  if (builtinTypedefs.has(text)) return true;
  const hasStar = cursor.peek(1).text === "*" && [")", "*"].includes(cursor.peek(2).text);
  return (hasStar || text.includes("::")) && findBare(names, text) !== undefined;
}

/** A type name at the cursor: specifiers and an abstract declarator. */
export function parseType(cursor: TokenCursor, names: TypeNames): Type {
  const specified = parseSpecifiers(cursor, names);
  return parseDeclarator(cursor, names, 0)(specified);
}

function findBare(names: TypeNames, name: string): Type | undefined {
  return (
    names.find("struct", name) ??
    names.find("class", name) ??
    names.find("union", name) ??
    names.find("enum", name)
  );
}

function parseSpecifiers(cursor: TokenCursor, names: TypeNames): Type {
  const wrap: QualifiedType["kind"][] = [];
  const seen: string[] = [];
  let type: Type | undefined;
  const start = cursor.peek();
  for (;;) {
    const { kind, text, column } = cursor.peek();
    if (kind !== "name") break;
    const qualifier = qualifiers.get(text);
    if (qualifier) wrap.push(qualifier);
    else if (ignored.has(text)) {
      // Skipped.
    } else if (tags.has(text) && !type && seen.length === 0) {
      cursor.next();
      type = parseTag(cursor, names, text, column);
      continue;
    } else if (words.has(text) && !type) seen.push(text);
    else if (!type && seen.length === 0) {
      type =
        names.find("typedef", text) ??
        names.find("base", text) ??
        builtinTypedefs.get(text) ??
        findBare(names, text);
      if (!type) throw cursor.error(column, `no type '${text}' is known`, { got: text });
    } else break;
    cursor.next();
  }
  type ??= seen.length > 0 ? combine(seen, names) : undefined;
  if (!type) {
    if (seen.length > 0) throw cursor.error(start.column, `'${seen.join(" ")}' is no type`);
    throw cursor.unexpected("a type");
  }
  for (const qualifier of new Set(wrap)) {
    const inner = type;
    type = new QualifiedType(qualifier, () => inner);
  }
  return type;
}

function parseTag(cursor: TokenCursor, names: TypeNames, tag: string, column: number): Type {
  const name = cursor.next();
  if (name.kind !== "name") throw cursor.error(name.column, `expected a name behind '${tag}'`);
  const found =
    names.find(tag as NamedKind, name.text) ??
    (tag === "struct" ? names.find("class", name.text) : undefined) ??
    (tag === "class" ? names.find("struct", name.text) : undefined);
  if (found) return found;
  throw cursor.error(column, `no ${tag} '${name.text}' is known`, { got: name.text });
}

/** `unsigned long int` in any order; the source's own type of that meaning comes first, for its spelling. */
function combine(seen: readonly string[], names: TypeNames): Type | undefined {
  const count = (word: string) => seen.filter((other) => other === word).length;
  const rest = seen.filter((word) => word !== "signed" && word !== "unsigned" && word !== "int");
  if (count("signed") + count("unsigned") > 1 || count("int") > 1) return undefined;
  const signed = count("unsigned") === 0;
  const pick = (plain: Type, other: Type) => (signed ? plain : other);
  const hasSign = seen.length > rest.length;
  switch (rest.join(" ")) {
    case "void":
      return hasSign ? undefined : voidType;
    case "float":
      return hasSign ? undefined : builtinFloat.float;
    case "double":
      return hasSign ? undefined : builtinFloat.double;
    case "long double":
      return hasSign ? undefined : builtinFloat["long double"];
    case "bool":
    case "_Bool":
      return hasSign ? undefined : (names.find("base", rest[0]!) ?? builtin.bool);
    case "char":
      return count("signed") > 0 ? builtin.signedChar : pick(builtin.char, builtin.unsignedChar);
    case "short":
      return pick(builtin.short, builtin.unsignedShort);
    case "":
      return pick(builtin.int, builtin.unsignedInt);
    case "long":
      return pick(builtin.long, builtin.unsignedLong);
    case "long long":
      return pick(builtin.longLong, builtin.unsignedLongLong);
    case "__int128":
      return pick(builtin.int128, builtin.unsignedInt128);
    default:
      return undefined;
  }
}

type Wrapper = (type: Type) => Type;

/** `*`, `[16]`, `(*)(int)`: what a type without a name is wrapped in. */
function parseDeclarator(cursor: TokenCursor, names: TypeNames, depth: number): Wrapper {
  if (depth > deepestDeclarator) throw cursor.error(cursor.peek().column, "a type is nested too deep");
  const pointers: Wrapper[] = [];
  for (;;) {
    const { text, kind } = cursor.peek();
    if (kind === "sign" && text === "*") pointers.push((type) => new PointerType(pointerSize, () => type));
    else if (kind === "sign" && text === "&")
      pointers.push((type) => new PointerType(pointerSize, () => type, "lvalue"));
    else if (kind === "name" && qualifiers.has(text) && pointers.length > 0) {
      pointers.push((type) => new QualifiedType(qualifiers.get(text)!, () => type));
    } else if (kind !== "name" || !ignored.has(text)) break;
    if (pointers.length > deepestDeclarator)
      throw cursor.error(cursor.peek().column, "a type is nested too deep");
    cursor.next();
  }
  let inner: Wrapper = (type) => type;
  const inside = cursor.peek(1).text;
  if (cursor.peek().text === "(" && (inside === "*" || inside === "&")) {
    cursor.next();
    inner = parseDeclarator(cursor, names, depth + 1);
    cursor.expect(")");
  }
  const suffixes = parseSuffixes(cursor, names);
  return (type) => {
    let wrapped = type;
    for (const pointer of pointers) wrapped = pointer(wrapped);
    for (let i = suffixes.length - 1; i >= 0; i--) wrapped = suffixes[i]!(wrapped);
    return inner(wrapped);
  };
}

function parseSuffixes(cursor: TokenCursor, names: TypeNames): Wrapper[] {
  const suffixes: Wrapper[] = [];
  for (;;) {
    if (cursor.peek().text === "[") {
      cursor.next();
      const size = cursor.peek();
      let count: number | undefined;
      if (size.kind === "integer") {
        if (size.value > 0xffffffffn) throw cursor.error(size.column, "an array has too many elements");
        count = Number(size.value);
        cursor.next();
      }
      cursor.expect("]");
      suffixes.push((type) => new ArrayType(count, () => type));
    } else if (cursor.peek().text === "(") {
      cursor.next();
      suffixes.push(parseParameters(cursor, names));
    } else return suffixes;
    if (suffixes.length > deepestDeclarator)
      throw cursor.error(cursor.peek().column, "a type is nested too deep");
  }
}

function parseParameters(cursor: TokenCursor, names: TypeNames): Wrapper {
  const types: Type[] = [];
  let variadic = false;
  while (!cursor.take(")")) {
    if (types.length > 0 || variadic) cursor.expect(",");
    if (cursor.take("...")) variadic = true;
    else types.push(parseType(cursor, names));
  }
  const only = types[0];
  const parameters = types.length === 1 && only?.kind === "void" ? [] : types;
  return (type) =>
    new FunctionType(
      () => type,
      () => parameters.map((parameter) => ({ name: undefined, type: parameter })),
      variadic,
    );
}
