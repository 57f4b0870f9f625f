import {
  arrayType,
  functionType,
  longestText,
  marked,
  notMangled,
  plain,
  qualified,
  referenced,
  type TypeText,
  textOf,
} from "./demangle-declarator.js";
import {
  builtinTypes,
  extendedTypes,
  literalSuffixes,
  operators,
  standardNames,
  typeSpecials,
} from "./demangle-tables.js";

/** Nothing that compilers write nests so deep, or takes so many steps: 20 a letter. */
const deepest = 256;
const stepsPerLetter = 400;

/**
 * A C++ name of the Itanium ABI (itanium-cxx-abi.github.io, 5.1), spelled as libiberty does (`c++filt`, GDB).
 *
 * @param hasResult whether the result type of a template function is written before it
 * @returns undefined when it is none
 */
export function demangleItanium(name: string, hasResult = true): string | undefined {
  const mangled = name.replace(/^_{0,2}(?=_Z)/, "");
  const [, own = "", clones = ""] = /^_Z([^.]*)((?:\..*)?)$/s.exec(mangled) ?? [];
  if (own === "") return undefined;
  try {
    const suffix = cloneText(clones);
    const global = /^_GLOBAL_(?:[._$])([ID])_/.exec(own);
    if (global) return undefined;
    const parser = new Parser(own);
    const text = parser.wholeEncoding(hasResult);
    return text.length > longestText ? undefined : text + suffix;
  } catch (error) {
    // A stack that is too deep cannot be: the depth is limited.
    if (error === notMangled) return undefined;
    throw error;
  }
}

/** `.constprop.0.cold` is ` [clone .constprop.0] [clone .cold]`. */
function cloneText(clones: string): string {
  let text = "";
  for (let rest = clones; rest !== ""; ) {
    const match = /^\.(?:[a-zA-Z_$][\w$]*|\d+)(?:\.\d+)*/.exec(rest);
    if (!match) throw notMangled;
    text += ` [clone ${match[0]}]`;
    rest = rest.slice(match[0].length);
  }
  return text;
}

/** A name, and what a function's encoding must know of it. */
interface Name {
  readonly text: string;
  /** The last part, for constructors. */
  readonly base: string;
  /** Ends in template arguments: then a function's type begins with its result. */
  readonly isTemplate: boolean;
  /** Constructor, destructor or conversion: then it has no result. */
  readonly isSpecial: boolean;
  /** Of a member function: ` const`, ` &`. */
  readonly qualifiers: string;
}

interface Substitution {
  readonly type: TypeText;
  /** Where it was read, when template parameters stand in it; -1 when none do. */
  readonly start: number;
  /** What the parameters stood for. */
  readonly context: readonly TypeText[] | undefined;
  readonly hasPack: boolean;
}

class Parser {
  private at = 0;
  private depth = 0;
  private stepsLeft: number;
  private readonly substitutions: Substitution[] = [];
  /** Template arguments that T_ stands for. */
  private templateArguments: readonly TypeText[] = [];
  /** While a pack is expanded: which element T_ stands for. */
  private packIndex = -1;
  /** The length of the pack that the pattern just read holds; -1 for none. */
  private packLength = -1;
  /** No substitutions are added while a part is read for the second time. */
  private isRepeating = false;
  /** Arguments a conversion operator's type needs before they are read. */
  private pending = false;
  private lambdaDepth = 0;
  /** Template parameters read so far. */
  private parametersRead = 0;
  /** Whether the expression just read needs no brackets as a part of another. */
  private isSimple = false;
  /** The function that the literal just read names, where that has a scope: its address is written without parameters. */
  private functionName: string | undefined;

  constructor(private readonly name: string) {
    this.stepsLeft = 1000 + name.length * stepsPerLetter;
  }

  wholeEncoding(hasResult: boolean): string {
    const text = this.encoding(hasResult);
    if (this.at < this.name.length) throw notMangled;
    return text;
  }

  /** @param isWhole whether a result type is printed */
  private encoding(isWhole: boolean): string {
    this.enter();
    const outer = this.templateArguments;
    let text: string;
    let functionName: string | undefined;
    let isFunction = false;
    const letter = this.peek();
    const isScoped = letter === "N";
    if (
      letter === "T" ||
      this.startsWith("GV") ||
      this.startsWith("GR") ||
      this.startsWith("GT") ||
      this.startsWith("GA")
    ) {
      text = this.special();
    } else {
      const name = this.encodingName();
      if (this.isEndOfEncoding()) {
        text = name.text + name.qualifiers;
      } else {
        isFunction = true;
        if (isScoped && !name.isTemplate && name.qualifiers === "") functionName = name.text;
        const result = name.isTemplate && !name.isSpecial ? this.type() : undefined;
        const parameters = this.parameters();
        text = `${name.text}(${parameters})${name.qualifiers}`;
        if (result && isWhole) {
          text =
            result.shape === "plain" && result.right !== ""
              ? `${result.left}${text}${result.right}`
              : `${textOf(result)} ${text}`;
        }
        if (this.eat("Q")) this.expression();
      }
    }
    this.templateArguments = outer;
    this.functionName = functionName;
    this.isSimple = !isFunction;
    this.depth--;
    if (text.length > longestText) throw notMangled;
    return text;
  }

  private isEndOfEncoding(): boolean {
    const letter = this.peek();
    return letter === "" || letter === "E" || letter === ".";
  }

  /** The name of an encoding: its template arguments become those that T_ stands for. */
  private encodingName(): Name {
    const name = this.nameOf(true);
    return name;
  }

  private parameters(): string {
    const parts: string[] = [];
    while (!this.isEndOfEncoding() && this.peek() !== "Q") {
      if (this.peek() === "O" || this.peek() === "R") {
        // A reference qualifier of a function type, at its end.
        if (this.name[this.at + 1] === "E") break;
      }
      const type = this.type();
      if (type.pack && type.pack.length === 0) continue;
      parts.push(textOf(type));
    }
    return parts.length === 1 && parts[0] === "void" ? "" : parts.join(", ");
  }

  private special(): string {
    if (this.eat("G")) {
      const kind = this.next();
      if (kind === "V") return `guard variable for ${this.plainName()}`;
      if (kind === "R") {
        const object = this.plainName();
        const number = this.peek() === "" ? 0 : this.sequence();
        return `reference temporary #${number} for ${object}`;
      }
      if (kind === "A") return `hidden alias for ${this.encoding(false)}`;
      if (kind === "T") {
        const isClone = this.next() === "n";
        return `${isClone ? "non-transaction" : "transaction"} clone for ${this.encoding(true)}`;
      }
      throw notMangled;
    }
    this.expect("T");
    const kind = this.next();
    const prefix = typeSpecials[kind];
    if (prefix !== undefined) return prefix + textOf(this.type());
    switch (kind) {
      case "h":
        this.callOffset("h");
        return `non-virtual thunk to ${this.encoding(true)}`;
      case "v":
        this.callOffset("v");
        return `virtual thunk to ${this.encoding(true)}`;
      case "c":
        this.callOffset(this.next());
        this.callOffset(this.next());
        return `covariant return thunk to ${this.encoding(true)}`;
      case "C": {
        const derived = textOf(this.type());
        this.number();
        this.expect("_");
        return `construction vtable for ${textOf(this.type())}-in-${derived}`;
      }
      case "H":
        return `TLS init function for ${this.plainName()}`;
      case "W":
        return `TLS wrapper function for ${this.plainName()}`;
      case "A":
        return `template parameter object for ${this.templateArgument().map(textOf).join(", ")}`;
      default:
        throw notMangled;
    }
  }

  private plainName(): string {
    return this.nameOf(false).text;
  }

  private callOffset(kind: string): void {
    this.number();
    this.expect("_");
    if (kind === "h") return;
    if (kind !== "v") throw notMangled;
    this.number();
    this.expect("_");
  }

  private nameOf(isEncoding: boolean): Name {
    this.enter();
    const name = this.anyName(isEncoding);
    this.depth--;
    return name;
  }

  private anyName(isEncoding: boolean): Name {
    const letter = this.peek();
    if (letter === "N") return this.nestedName(isEncoding);
    if (letter === "Z") return this.localName(isEncoding);
    if (letter === "S" && this.name[this.at + 1] !== "t") {
      const type = this.substitution();
      const name = named(textOf(type), type.base);
      return this.peek() === "I" ? this.withArguments(name, isEncoding) : name;
    }
    const name = this.unscopedName();
    if (this.peek() !== "I") return name;
    this.add(plain(name.text, name.base));
    return this.withArguments(name, isEncoding);
  }

  private withArguments(name: Name, isEncoding: boolean): Name {
    const space = name.text.endsWith("<") ? " " : "";
    const text = name.text + space + this.templateArgumentList(isEncoding);
    return { ...name, text, isTemplate: true };
  }

  private unscopedName(): Name {
    let prefix = "";
    if (this.startsWith("St")) {
      this.at += 2;
      prefix = "std::";
    }
    const name = this.unqualifiedName(undefined);
    return { ...name, text: prefix + name.text };
  }

  private nestedName(isEncoding: boolean): Name {
    this.expect("N");
    if (this.eat("H")) {
      // An explicit object parameter (C++23): written like a static member.
    }
    let qualifiers = this.cvQualifiers();
    if (this.eat("R")) qualifiers += " &";
    else if (this.eat("O")) qualifiers += " &&";
    let name: Name | undefined;
    let isLastAdded = false;
    while (!this.eat("E")) {
      this.step();
      const letter = this.peek();
      isLastAdded = true;
      if (letter === "I" && name) {
        name = this.withArguments(name, isEncoding);
      } else if (letter === "S" && this.name[this.at + 1] !== "t") {
        if (name) throw notMangled;
        const type = this.substitution();
        name = named(textOf(type), type.base);
        isLastAdded = false;
        continue;
      } else if (letter === "T" && !name) {
        const type = this.templateParameter();
        name = named(textOf(type), type.base);
      } else if (letter === "D" && !name && /[tT]/.test(this.name[this.at + 1] ?? "")) {
        const type = this.decltype();
        name = named(textOf(type), undefined);
      } else if (letter === "M") {
        // The initializer of a data member: only says that a lambda is in one.
        this.at++;
        isLastAdded = false;
        continue;
      } else {
        let text = "";
        if (this.startsWith("St")) {
          this.at += 2;
          if (name) throw notMangled;
          text = "std::";
        }
        const part = this.unqualifiedName(name);
        text += part.text;
        name = { ...part, text: name ? `${name.text}::${text}` : text, base: part.base };
      }
      if (name.text.length > longestText) throw notMangled;
      this.add(plain(name.text, name.base));
    }
    if (!name) throw notMangled;
    // The whole name is a candidate only where it is a type, which adds it itself.
    if (isLastAdded && !this.isRepeating) this.substitutions.pop();
    return { ...name, qualifiers };
  }

  private localName(isEncoding: boolean): Name {
    this.expect("Z");
    const scope = this.encoding(false);
    this.expect("E");
    if (this.eat("s")) {
      this.discriminator();
      return named(`${scope}::string literal`, undefined);
    }
    let prefix = "";
    if (this.eat("d")) {
      const number = this.peek() === "_" ? -1 : this.number();
      this.expect("_");
      prefix = `{default arg#${number + 2}}::`;
    }
    const name = this.nameOf(isEncoding);
    this.discriminator();
    return { ...name, text: `${scope}::${prefix}${name.text}` };
  }

  /** `_n` or `__nn_`. */
  private discriminator(): void {
    if (!this.eat("_")) return;
    const isLong = this.eat("_");
    const start = this.at;
    while (/[0-9]/.test(this.peek()) && (isLong || this.at === start)) this.at++;
    if (isLong) this.eat("_");
  }

  /** @param scope what stands before it, for constructors */
  private unqualifiedName(scope: Name | undefined): Name {
    const letter = this.peek();
    let name: Name;
    if (/[0-9]/.test(letter)) {
      const text = this.sourceName();
      name = named(text, text);
    } else if (letter === "L") {
      this.at++;
      const text = this.sourceName();
      name = named(text, text);
      this.discriminator();
    } else if (letter === "U") {
      name = this.unnamedType();
    } else if ((letter === "C" || letter === "D") && /[0-9I]/.test(this.name[this.at + 1] ?? "")) {
      name = this.constructorName(scope);
    } else if (this.startsWith("DC")) {
      this.at += 2;
      const parts: string[] = [];
      while (!this.eat("E")) parts.push(this.sourceName());
      name = named(`[${parts.join(", ")}]`, undefined);
    } else if (/[a-z]/.test(letter)) {
      name = this.operatorName();
    } else {
      throw notMangled;
    }
    while (this.eat("B")) {
      const tag = `[abi:${this.sourceName()}]`;
      name = { ...name, text: name.text + tag };
    }
    return name;
  }

  private constructorName(scope: Name | undefined): Name {
    if (!scope) throw notMangled;
    const isDestructor = this.next() === "D";
    if (this.eat("I")) {
      this.next();
      this.type();
    } else {
      this.next();
    }
    return { ...named(`${isDestructor ? "~" : ""}${scope.base}`, scope.base), isSpecial: true };
  }

  private sourceName(): string {
    const length = this.naturalNumber();
    const text = this.name.slice(this.at, this.at + length);
    if (length === 0 || text.length !== length) throw notMangled;
    this.at += length;
    return /^_GLOBAL_[._$]N/.test(text) ? "(anonymous namespace)" : text;
  }

  private unnamedType(): Name {
    this.expect("U");
    const kind = this.next();
    if (kind === "t") {
      const number = this.peek() === "_" ? -1 : this.naturalNumber();
      this.expect("_");
      const text = `{unnamed type#${number + 2}}`;
      return named(text, text);
    }
    if (kind !== "l") throw notMangled;
    while (this.startsWith("Ty") || this.startsWith("Tn") || this.startsWith("Tt") || this.startsWith("Tp")) {
      this.templateParameterDeclaration();
    }
    this.lambdaDepth++;
    const parameters = this.parameters();
    this.lambdaDepth--;
    this.expect("E");
    const number = this.peek() === "_" ? -1 : this.naturalNumber();
    this.expect("_");
    const text = `{lambda(${parameters})#${number + 2}}`;
    return named(text, text);
  }

  private templateParameterDeclaration(): void {
    this.expect("T");
    const kind = this.next();
    if (kind === "n") this.type();
    else if (kind === "p") this.templateParameterDeclaration();
    else if (kind === "t") {
      while (!this.eat("E")) this.templateParameterDeclaration();
    }
  }

  private operatorName(): Name {
    const code = this.name.slice(this.at, this.at + 2);
    this.at += 2;
    if (code === "cv") {
      const wasPending = this.pending;
      this.pending = true;
      const type = textOf(this.type());
      this.pending = wasPending;
      return { ...named(`operator ${type}`, undefined), isSpecial: true };
    }
    if (code === "li") return named(`operator"" ${this.sourceName()}`, undefined);
    if (code[0] === "v" && /[0-9]/.test(code[1] ?? ""))
      return named(`operator ${this.sourceName()}`, undefined);
    const known = operators[code];
    if (!known) throw notMangled;
    const spelling = known[0].trimEnd();
    return named(`operator${/^[a-z]/.test(spelling) ? " " : ""}${spelling}`, undefined);
  }

  /** `<…>` of an I … E, spelled out. */
  private templateArgumentList(isEncoding: boolean): string {
    this.expect("I");
    const values: TypeText[] = [];
    while (!this.eat("E")) values.push(...this.templateArgument());
    if (isEncoding && !this.isRepeating) this.templateArguments = values;
    return spellArguments(values);
  }

  /** One argument; of a pack without name its elements, as one. */
  private templateArgument(): TypeText[] {
    this.enter();
    let values: TypeText[];
    const letter = this.peek();
    if (letter === "X") {
      this.at++;
      values = [plain(this.expression())];
      this.expect("E");
    } else if (letter === "L") {
      values = [plain(this.literal())];
    } else if (letter === "J" || letter === "I") {
      this.at++;
      const pack: TypeText[] = [];
      while (!this.eat("E")) pack.push(...this.templateArgument().flatMap((value) => value.pack ?? [value]));
      values = [{ left: "", right: "", shape: "plain", pack }];
    } else if (
      this.startsWith("Ty") ||
      this.startsWith("Tn") ||
      this.startsWith("Tt") ||
      this.startsWith("Tp")
    ) {
      this.templateParameterDeclaration();
      values = this.templateArgument();
    } else {
      values = [this.type()];
    }
    this.depth--;
    return values;
  }

  private cvQualifiers(): string {
    let text = "";
    // Written in another order than they are mangled.
    const isRestrict = this.eat("r");
    const isVolatile = this.eat("V");
    if (this.eat("K")) text += " const";
    if (isVolatile) text += " volatile";
    if (isRestrict) text += " restrict";
    return text;
  }

  private type(): TypeText {
    this.enter();
    const start = this.at;
    const outerPack = this.packLength;
    const parameters = this.parametersRead;
    this.packLength = -1;
    const [type, isCandidate] = this.anyType();
    if (isCandidate) this.add(type, this.parametersRead === parameters ? -1 : start);
    this.packLength = Math.max(this.packLength, outerPack);
    this.depth--;
    return type;
  }

  /** A type, and whether it is a candidate for substitution. */
  private anyType(): readonly [TypeText, boolean] {
    const letter = this.peek();
    const builtin = builtinTypes[letter];
    if (builtin !== undefined) {
      this.at++;
      return [plain(builtin), false];
    }
    if (/[rVK]/.test(letter)) {
      const start = this.at;
      const words = this.cvQualifiers();
      if (this.peek() === "F") {
        // Of a member function: they are a part of its type, not put around it.
        this.at = start;
        return [this.functionType(""), true];
      }
      return [qualified(this.type(), words), true];
    }
    if (/[0-9NZ]/.test(letter)) return [this.classType(), true];
    switch (letter) {
      case "u": {
        this.at++;
        const text = this.sourceName();
        return [plain(text + (this.peek() === "I" ? this.templateArgumentList(false) : ""), text), true];
      }
      case "P":
        this.at++;
        return [marked(this.type(), "*"), true];
      case "R":
        this.at++;
        return [referenced(this.type(), "&"), true];
      case "O":
        this.at++;
        return [referenced(this.type(), "&&"), true];
      case "C":
        this.at++;
        return [qualified(this.type(), " _Complex"), true];
      case "G":
        this.at++;
        return [qualified(this.type(), " _Imaginary"), true];
      case "F":
        return [this.functionType(""), true];
      case "A":
        return [this.arrayType(), true];
      case "M":
        return [this.memberPointer(), true];
      case "T":
        if (/[sue]/.test(this.name[this.at + 1] ?? "")) {
          this.at += 2;
          return [this.classType(), true];
        }
        return [this.templateParameterType(), true];
      case "S":
        return this.substitutedType();
      case "D":
        return this.extendedType();
      case "U": {
        if (/[lt]/.test(this.name[this.at + 1] ?? "")) return [this.classType(), true];
        this.at++;
        const vendor = this.sourceName();
        const args = this.peek() === "I" ? this.templateArgumentList(false) : "";
        return [qualified(this.type(), ` ${vendor}${args}`), true];
      }
      default:
        throw notMangled;
    }
  }

  private classType(): TypeText {
    const name = this.nameOf(false);
    return plain(name.text, name.base);
  }

  private substitutedType(): readonly [TypeText, boolean] {
    if (this.name[this.at + 1] === "t") return [this.classType(), true];
    const type = this.substitution();
    if (this.peek() !== "I") return [type, false];
    const base = textOf(type);
    return [plain(base + this.templateArgumentList(false), type.base ?? base), true];
  }

  private templateParameterType(): TypeText {
    const type = this.templateParameter();
    if (this.peek() !== "I") return type;
    // A template template parameter with arguments of its own.
    this.add(type);
    return plain(textOf(type) + this.templateArgumentList(false), type.base);
  }

  private extendedType(): readonly [TypeText, boolean] {
    const kind = this.name[this.at + 1] ?? "";
    const known = extendedTypes[kind];
    if (known !== undefined) {
      this.at += 2;
      return [plain(known), false];
    }
    switch (kind) {
      case "p":
        return [this.expandedPack(), true];
      case "t":
      case "T":
        return [this.decltype(), true];
      case "F": {
        this.at += 2;
        const bits = this.naturalNumber();
        const isExtended = this.eat("x");
        if (!isExtended) this.eat("_");
        return [plain(`_Float${bits}${isExtended ? "x" : ""}`), false];
      }
      case "v": {
        this.at += 2;
        const size = this.eat("_") ? this.expression() : String(this.naturalNumber());
        this.expect("_");
        return [qualified(this.type(), ` __vector(${size})`), true];
      }
      case "o":
        this.at += 2;
        return [this.functionType(" noexcept"), true];
      case "O": {
        this.at += 2;
        const condition = this.expression();
        this.expect("E");
        return [this.functionType(` noexcept(${condition})`), true];
      }
      case "w": {
        this.at += 2;
        const types: string[] = [];
        while (!this.eat("E")) types.push(textOf(this.type()));
        return [this.functionType(` throw(${types.join(", ")})`), true];
      }
      case "x":
        this.at += 2;
        return [this.functionType(""), true];
      case "B":
      case "U": {
        this.at += 2;
        const bits = /[0-9]/.test(this.peek()) ? String(this.naturalNumber()) : this.expression();
        this.expect("_");
        return [plain(`${kind === "U" ? "unsigned " : ""}_BitInt(${bits})`), true];
      }
      default:
        throw notMangled;
    }
  }

  /** `Dp` and a pattern: the pattern once for each element of the pack it holds. */
  private expandedPack(): TypeText {
    this.at += 2;
    const start = this.at;
    const first = this.type();
    const length = this.packLength;
    this.packLength = -1;
    if (length < 0) return plain(`${textOf(first)}...`);
    const end = this.at;
    const pack: TypeText[] = [];
    const wasRepeating = this.isRepeating;
    const outerIndex = this.packIndex;
    this.isRepeating = true;
    for (let i = 0; i < length; i++) {
      this.at = start;
      this.packIndex = i;
      pack.push(this.type());
    }
    this.packLength = -1;
    this.packIndex = outerIndex;
    this.isRepeating = wasRepeating;
    this.at = end;
    return { left: "", right: "", shape: "plain", pack };
  }

  private decltype(): TypeText {
    this.at += 2;
    const text = this.expression();
    this.expect("E");
    return plain(`decltype (${text})`);
  }

  private functionType(exception: string): TypeText {
    const words = this.cvQualifiers();
    this.expect("F");
    this.eat("Y");
    const result = this.type();
    const parameters = this.parameters();
    let suffix = words;
    if (this.eat("R")) suffix += " &";
    else if (this.eat("O")) suffix += " &&";
    this.expect("E");
    return qualified(functionType(result, parameters), suffix + exception);
  }

  private arrayType(): TypeText {
    this.expect("A");
    let size = "";
    if (/[0-9]/.test(this.peek())) size = String(this.naturalNumber());
    else if (this.peek() !== "_") size = this.expression();
    this.expect("_");
    return arrayType(this.type(), size);
  }

  private memberPointer(): TypeText {
    this.expect("M");
    const owner = textOf(this.type());
    const member = this.type();
    return member.shape === "plain" ? marked(member, ` ${owner}::*`) : marked(member, `${owner}::*`);
  }

  private templateParameter(): TypeText {
    this.expect("T");
    if (this.eat("L")) {
      this.naturalNumber();
      this.expect("_");
    }
    const index = this.eat("_") ? 0 : this.naturalNumber() + 1;
    if (index > 0) this.expect("_");
    this.parametersRead++;
    if (this.lambdaDepth > 0) return plain(`auto:${index + 1}`);
    const value = this.templateArguments[index];
    if (!value) {
      // A conversion operator's type may name arguments that follow it: then it is read once more.
      if (this.pending) return this.argumentAhead(index);
      throw notMangled;
    }
    if (!value.pack) return value;
    this.packLength = Math.max(this.packLength, value.pack.length);
    if (this.packIndex < 0) return value;
    return value.pack[this.packIndex] ?? plain("");
  }

  /** Looks for the template arguments behind the type that is being read, of `cv <type> I … E`. */
  private argumentAhead(index: number): TypeText {
    const back = { at: this.at, depth: this.depth, count: this.substitutions.length };
    for (let at = this.at; at < this.name.length; at++) {
      if (this.name[at] !== "I") continue;
      this.at = at;
      const wasRepeating = this.isRepeating;
      try {
        this.isRepeating = true;
        this.pending = false;
        this.expect("I");
        const values: TypeText[] = [];
        while (!this.eat("E")) values.push(...this.templateArgument());
        const value = values[index];
        if (value) {
          this.templateArguments = values;
          return value;
        }
      } catch (error) {
        if (error !== notMangled || this.stepsLeft < 0) throw error;
      } finally {
        this.at = back.at;
        this.depth = back.depth;
        this.substitutions.length = back.count;
        this.isRepeating = wasRepeating;
        this.pending = true;
      }
    }
    throw notMangled;
  }

  private substitution(): TypeText {
    this.expect("S");
    const letter = this.peek();
    const standard = standardNames[letter];
    if (standard) {
      this.at++;
      const [text, base] = standard;
      // A constructor names the template that the short name stands for.
      const isStructor = /[CD]/.test(this.peek()) && /[0-9]/.test(this.name[this.at + 1] ?? "");
      let full = isStructor && /[siod]/.test(letter) ? fullStandardNames[letter]! : text;
      while (this.eat("B")) full += `[abi:${this.sourceName()}]`;
      return plain(full, base);
    }
    const index = this.eat("_") ? 0 : this.base36() + 1;
    const found = this.substitutions[index];
    if (!found) throw notMangled;
    // A parameter may stand for another type here: in a lambda, in the function that its name is part of, in a pack.
    const isOther = found.context !== this.context || (found.hasPack && this.packIndex >= 0);
    return found.start >= 0 && isOther ? this.repeated(found.start) : found.type;
  }

  /** What template parameters stand for here; in the parameters of a generic lambda for themselves. */
  private get context(): readonly TypeText[] | undefined {
    return this.lambdaDepth > 0 ? undefined : this.templateArguments;
  }

  /** What was read at a place, for the element of the pack that is being expanded. */
  private repeated(start: number): TypeText {
    const end = this.at;
    const wasRepeating = this.isRepeating;
    this.isRepeating = true;
    this.at = start;
    const type = this.type();
    this.isRepeating = wasRepeating;
    this.at = end;
    return type;
  }

  private base36(): number {
    let value = 0;
    for (;;) {
      const letter = this.next();
      if (letter === "_") return value;
      const digit = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".indexOf(letter);
      value = value * 36 + digit;
      if (digit < 0 || value > 1e9) throw notMangled;
    }
  }

  /** A sequence number behind a name: `_` is 0, `0_` is 1. */
  private sequence(): number {
    return this.eat("_") ? 0 : this.base36() + 1;
  }

  /** `L <type> <value> E`, or the name of an object or function. */
  private literal(): string {
    this.expect("L");
    if (this.startsWith("_Z") || this.peek() === "Z") {
      this.at += this.peek() === "_" ? 2 : 1;
      const text = this.encoding(true);
      this.expect("E");
      return text;
    }
    const type = textOf(this.type());
    const end = this.name.indexOf("E", this.at);
    if (end < 0) throw notMangled;
    const value = this.name.slice(this.at, end);
    if (!/^n?[0-9a-f_]*$/.test(value)) throw notMangled;
    this.at = end + 1;
    if (type === "bool" && (value === "0" || value === "1")) return value === "1" ? "true" : "false";
    if (type === "decltype(nullptr)")
      return value === "" || value === "0" ? `(${type})${value}` : `(${type})${value}`;
    const signed = value.replace(/^n/, "-");
    const suffix = literalSuffixes[type];
    if (suffix !== undefined && /^-?[0-9]+$/.test(signed)) return signed + suffix;
    if (/^(?:float|double|long double|__float128|_Float.*)$/.test(type)) return `(${type})[${value}]`;
    return `(${type})${signed}`;
  }

  private expressions(end: string): string[] {
    const parts: string[] = [];
    while (!this.eat(end)) {
      const text = this.expression();
      if (text !== "") parts.push(text);
    }
    return parts;
  }

  private expression(): string {
    this.enter();
    const text = this.expressionText();
    this.depth--;
    if (text.length > longestText) throw notMangled;
    return text;
  }

  /** An expression as a part of another: in brackets, unless it is a name, a parameter or a list in braces. */
  private operand(isAddressed = false): string {
    this.isSimple = false;
    this.functionName = undefined;
    const text = this.expression();
    const isSimple = this.isSimple;
    this.isSimple = false;
    if (isAddressed && this.functionName !== undefined) return this.functionName;
    return isSimple ? text : `(${text})`;
  }

  private simple(text: string): string {
    this.isSimple = true;
    return text;
  }

  private expressionText(): string {
    const letter = this.peek();
    if (letter === "L") return this.literal();
    if (letter === "T") return textOf(this.templateParameter());
    if (/[0-9]/.test(letter)) return this.dependentNameOrSimple();
    const code = this.name.slice(this.at, this.at + 2);
    if (code === "fp" || code === "fL") return this.simple(this.functionParameter());
    this.at += 2;
    switch (code) {
      case "cl":
        return this.call();
      case "cv": {
        const type = textOf(this.type());
        if (this.eat("_")) return `(${type})(${this.expressions("E").join(", ")})`;
        return `(${type})${this.operand()}`;
      }
      case "tl":
        return this.simple(`${textOf(this.type())}{${this.expressions("E").join(", ")}}`);
      case "il":
        return this.simple(`{${this.expressions("E").join(", ")}}`);
      case "st":
        return `sizeof (${textOf(this.type())})`;
      case "sz":
        return `sizeof ${this.operand()}`;
      case "at":
        return `alignof (${textOf(this.type())})`;
      case "az":
        return `alignof ${this.operand()}`;
      case "ti":
        return `typeid (${textOf(this.type())})`;
      case "te":
        return `typeid ${this.operand()}`;
      case "nx":
        return `noexcept ${this.operand()}`;
      case "tw":
        return `throw ${this.operand()}`;
      case "tr":
        return "throw";
      case "dc":
      case "sc":
      case "cc":
      case "rc": {
        const kind = { dc: "dynamic", sc: "static", cc: "const", rc: "reinterpret" }[code];
        const type = textOf(this.type());
        return `${kind}_cast<${type}>(${this.expression()})`;
      }
      case "dt":
      case "pt": {
        const object = this.operand();
        const member = this.dependentName();
        this.isSimple = false;
        return `${object}${code === "dt" ? "." : "->"}${member}`;
      }
      case "ds":
        return `${this.operand()}.*${this.operand()}`;
      case "sr":
        return this.scopedOrSimple();
      case "gs":
        return `::${this.expression()}`;
      case "on":
        return this.dependentOperator();
      case "sp":
        return this.packExpression();
      case "sZ":
        return this.packSize();
      case "sP": {
        const values = [];
        while (!this.eat("E")) values.push(...this.templateArgument());
        return String(values.reduce((sum, { pack }) => sum + (pack ? pack.length : 1), 0));
      }
      case "fl":
      case "fr": {
        const operator = this.operatorSpelling();
        const pack = this.operand();
        return code === "fl" ? `(...${operator}${pack})` : `(${pack}${operator}...)`;
      }
      case "fLL":
        throw notMangled;
      case "nw":
      case "na":
        return this.newExpression(code);
      default:
        return this.operation(code);
    }
  }

  private operation(code: string): string {
    const known = operators[code];
    if (!known) {
      // A name that depends on template parameters.
      this.at -= 2;
      return this.dependentName();
    }
    const [spelling, operands] = known;
    if (code === "pp" || code === "mm") {
      const isPrefix = this.eat("_");
      const operand = this.operand();
      return isPrefix ? `${spelling}${operand}` : `${operand}${spelling}`;
    }
    if (operands === 1) {
      const operand = this.operand(code === "ad");
      this.isSimple = false;
      return `${spelling}${/^[a-z]/.test(spelling) && !spelling.endsWith(" ") ? " " : ""}${operand}`;
    }
    if (code === "qu") {
      return `${this.operand()}?${this.operand()} : ${this.operand()}`;
    }
    const first = this.operand();
    const second = this.operand();
    this.isSimple = false;
    if (code === "ix") return `${first}[${second.replace(/^\((.*)\)$/s, "$1")}]`;
    const text = `${first}${spelling}${second}`;
    return code === "gt" ? `(${text})` : text;
  }

  private call(): string {
    const callee = this.operand();
    const parts = this.expressions("E");
    this.isSimple = false;
    return `${callee}(${parts.join(", ")})`;
  }

  private newExpression(code: string): string {
    const places = this.expressions("_");
    const type = textOf(this.type());
    let start = "";
    if (this.startsWith("pi")) {
      this.at += 2;
      start = `(${this.expressions("E").join(", ")})`;
    } else if (this.startsWith("il")) {
      start = this.expression();
    } else {
      this.expect("E");
    }
    return `new${code === "na" ? "[]" : ""}${places.length > 0 ? ` (${places.join(", ")})` : ""} ${type}${start}`;
  }

  private functionParameter(): string {
    this.at += 1;
    if (this.eat("L")) {
      this.naturalNumber();
      this.expect("p");
    } else {
      this.expect("p");
    }
    if (this.eat("T")) return "this";
    this.cvQualifiers();
    const index = this.peek() === "_" ? 1 : this.naturalNumber() + 2;
    this.expect("_");
    return `{parm#${index}}`;
  }

  private operatorSpelling(): string {
    const known = operators[this.name.slice(this.at, this.at + 2)];
    if (!known) throw notMangled;
    this.at += 2;
    return known[0];
  }

  private scopedOrSimple(): string {
    const text = this.scopedName();
    this.isSimple = !text.endsWith(">");
    return text;
  }

  private dependentNameOrSimple(): string {
    const text = this.dependentName();
    this.isSimple = !text.endsWith(">");
    return text;
  }

  private dependentName(): string {
    if (this.startsWith("on")) {
      this.at += 2;
      return this.dependentOperator();
    }
    if (this.startsWith("dn")) {
      this.at += 2;
      return `~${/[0-9]/.test(this.peek()) ? this.dependentName() : textOf(this.type())}`;
    }
    const text = /[0-9]/.test(this.peek()) ? this.unqualifiedName(undefined).text : this.operatorName().text;
    return text + (this.peek() === "I" ? this.templateArgumentList(false) : "");
  }

  private dependentOperator(): string {
    const text = this.operatorName().text;
    return text + (this.peek() === "I" ? this.templateArgumentList(false) : "");
  }

  private scopedName(): string {
    if (this.eat("N")) {
      let text = textOf(this.type());
      while (!this.eat("E")) text += `::${this.dependentName()}`;
      return `${text}::${this.dependentName()}`;
    }
    if (/[0-9]/.test(this.peek())) {
      let text = "";
      while (!this.eat("E")) text += `${this.dependentName()}::`;
      return text + this.dependentName();
    }
    const type = textOf(this.type());
    return `${type}::${this.dependentName()}`;
  }

  private packExpression(): string {
    const start = this.at;
    const outer = this.packLength;
    this.packLength = -1;
    const first = this.expression();
    const length = this.packLength;
    this.packLength = outer;
    if (length < 0) return `(${first})...`;
    const end = this.at;
    const wasRepeating = this.isRepeating;
    const outerIndex = this.packIndex;
    this.isRepeating = true;
    const parts: string[] = [];
    for (let i = 0; i < length; i++) {
      this.at = start;
      this.packIndex = i;
      parts.push(this.expression());
    }
    this.packLength = outer;
    this.packIndex = outerIndex;
    this.isRepeating = wasRepeating;
    this.at = end;
    return parts.join(", ");
  }

  private packSize(): string {
    if (this.peek() === "T") {
      const outerIndex = this.packIndex;
      this.packIndex = -1;
      const { pack } = this.templateParameter();
      this.packIndex = outerIndex;
      if (pack) return String(pack.length);
    }
    return `sizeof...(${this.functionParameter()})`;
  }

  private number(): number {
    const isNegative = this.eat("n");
    const value = this.naturalNumber();
    return isNegative ? -value : value;
  }

  private naturalNumber(): number {
    let value = 0;
    let count = 0;
    while (/[0-9]/.test(this.peek())) {
      value = value * 10 + Number(this.next());
      if (++count > 15) throw notMangled;
    }
    if (count === 0) throw notMangled;
    return value;
  }

  private add(type: TypeText, start = -1): void {
    if (this.isRepeating) return;
    this.substitutions.push({ type, start, context: this.context, hasPack: this.packLength >= 0 });
  }

  private step(): void {
    if (--this.stepsLeft < 0) throw notMangled;
  }

  private enter(): void {
    this.step();
    if (++this.depth > deepest) throw notMangled;
  }

  private startsWith(text: string): boolean {
    return this.name.startsWith(text, this.at);
  }

  private peek(): string {
    return this.name[this.at] ?? "";
  }

  private next(): string {
    const letter = this.name[this.at++];
    if (letter === undefined) throw notMangled;
    return letter;
  }

  private eat(letter: string): boolean {
    if (this.name[this.at] !== letter) return false;
    this.at++;
    return true;
  }

  private expect(letter: string): void {
    if (!this.eat(letter)) throw notMangled;
  }
}

const fullStandardNames: Readonly<Record<string, string>> = {
  s: "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
  i: "std::basic_istream<char, std::char_traits<char> >",
  o: "std::basic_ostream<char, std::char_traits<char> >",
  d: "std::basic_iostream<char, std::char_traits<char> >",
};

function named(text: string, base: string | undefined): Name {
  return { text, base: base ?? text, isTemplate: false, isSpecial: false, qualifiers: "" };
}

function spellArguments(values: readonly TypeText[]): string {
  const parts = values.filter(({ pack }) => !pack || pack.length > 0).map(textOf);
  const text = parts.join(", ");
  // libiberty forgets what stands last when an empty pack follows.
  const isForgotten = values.at(-1)?.pack?.length === 0;
  return `<${text}${text.endsWith(">") && !isForgotten ? " " : ""}>`;
}
