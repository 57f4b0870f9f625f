import {
  arrayType,
  functionType,
  marked,
  notMangled,
  plain,
  qualified,
  referenced,
  type TypeText,
  textOf,
} from "./declarator.js";
import { ExpressionParser } from "./expression.js";
import { builtinTypes, extendedTypes, fullStandardNames, standardNames } from "./tables.js";

interface Substitution {
  readonly type: TypeText;
  /** Where it was read, when template parameters stand in it; -1 when none do. */
  readonly start: number;
  /** What the parameters stood for. */
  readonly context: readonly TypeText[] | undefined;
  readonly hasPack: boolean;
}

/** Rules of the ABI's 5.1.5, types, with substitutions and template arguments. */
export abstract class TypeParser extends ExpressionParser {
  protected readonly substitutions: Substitution[] = [];
  /** Template arguments that T_ stands for. */
  protected templateArguments: readonly TypeText[] = [];
  /** Arguments a conversion operator's type needs before they are read. */
  protected pending = false;
  protected lambdaDepth = 0;
  /** Template parameters read so far. */
  protected parametersRead = 0;

  protected override type(): TypeText {
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
  protected anyType(): readonly [TypeText, boolean] {
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

  protected classType(): TypeText {
    const name = this.nameOf(false);
    return plain(name.text, name.base);
  }

  protected substitutedType(): readonly [TypeText, boolean] {
    if (this.name[this.at + 1] === "t") return [this.classType(), true];
    const type = this.substitution();
    if (this.peek() !== "I") return [type, false];
    const base = textOf(type);
    return [plain(base + this.templateArgumentList(false), type.base ?? base), true];
  }

  protected templateParameterType(): TypeText {
    const type = this.templateParameter();
    if (this.peek() !== "I") return type;
    // A template template parameter with arguments of its own.
    this.add(type);
    return plain(textOf(type) + this.templateArgumentList(false), type.base);
  }

  protected extendedType(): readonly [TypeText, boolean] {
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
  protected expandedPack(): TypeText {
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

  protected decltype(): TypeText {
    this.at += 2;
    const text = this.expression();
    this.expect("E");
    return plain(`decltype (${text})`);
  }

  protected functionType(exception: string): TypeText {
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

  protected arrayType(): TypeText {
    this.expect("A");
    let size = "";
    if (/[0-9]/.test(this.peek())) size = String(this.naturalNumber());
    else if (this.peek() !== "_") size = this.expression();
    this.expect("_");
    return arrayType(this.type(), size);
  }

  protected memberPointer(): TypeText {
    this.expect("M");
    const owner = textOf(this.type());
    const member = this.type();
    return member.shape === "plain" ? marked(member, ` ${owner}::*`) : marked(member, `${owner}::*`);
  }

  protected parameters(): string {
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

  /** `<…>` of an I … E, spelled out. */
  protected override templateArgumentList(isEncoding: boolean): string {
    this.expect("I");
    const values: TypeText[] = [];
    while (!this.eat("E")) values.push(...this.templateArgument());
    if (isEncoding && !this.isRepeating) this.templateArguments = values;
    return spellArguments(values);
  }

  /** One argument; of a pack without name its elements, as one. */
  protected override templateArgument(): TypeText[] {
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

  protected templateParameterDeclaration(): void {
    this.expect("T");
    const kind = this.next();
    if (kind === "n") this.type();
    else if (kind === "p") this.templateParameterDeclaration();
    else if (kind === "t") {
      while (!this.eat("E")) this.templateParameterDeclaration();
    }
  }

  protected override templateParameter(): TypeText {
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

  /** Looks for the template arguments after the type that is being read, of `cv <type> I … E`. */
  protected argumentAhead(index: number): TypeText {
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

  protected substitution(): TypeText {
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
  protected get context(): readonly TypeText[] | undefined {
    return this.lambdaDepth > 0 ? undefined : this.templateArguments;
  }

  /** What was read at a place, for the element of the pack that is being expanded. */
  protected repeated(start: number): TypeText {
    const end = this.at;
    const wasRepeating = this.isRepeating;
    this.isRepeating = true;
    this.at = start;
    const type = this.type();
    this.isRepeating = wasRepeating;
    this.at = end;
    return type;
  }

  protected add(type: TypeText, start = -1): void {
    if (this.isRepeating) return;
    this.substitutions.push({ type, start, context: this.context, hasPack: this.packLength >= 0 });
  }

  protected abstract nameOf(isEncoding: boolean): { readonly text: string; readonly base: string };
}

function spellArguments(values: readonly TypeText[]): string {
  const parts = values.filter(({ pack }) => !pack || pack.length > 0).map(textOf);
  const text = parts.join(", ");
  // libiberty forgets what stands last when an empty pack follows.
  const isForgotten = values.at(-1)?.pack?.length === 0;
  return `<${text}${text.endsWith(">") && !isForgotten ? " " : ""}>`;
}
