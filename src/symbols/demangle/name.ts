import { longestText, notMangled, plain, textOf } from "./declarator.js";
import { operators, typeSpecials } from "./tables.js";
import { TypeParser } from "./type.js";

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

/** Rules of the ABI's 5.1.2 to 5.1.4: encodings and names. */
export class NameParser extends TypeParser {
  wholeEncoding(hasResult: boolean): string {
    const text = this.encoding(hasResult);
    if (this.at < this.name.length) throw notMangled;
    return text;
  }

  /** @param isWhole whether a result type is printed */
  protected override encoding(isWhole: boolean): string {
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
      const name = this.nameOf(true);
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

  protected special(): string {
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

  protected plainName(): string {
    return this.nameOf(false).text;
  }

  protected callOffset(kind: string): void {
    this.number();
    this.expect("_");
    if (kind === "h") return;
    if (kind !== "v") throw notMangled;
    this.number();
    this.expect("_");
  }

  /** @param isEncoding whether it is a function's or object's own: its template arguments are what T_ stands for */
  protected override nameOf(isEncoding: boolean): Name {
    this.enter();
    const name = this.anyName(isEncoding);
    this.depth--;
    return name;
  }

  protected anyName(isEncoding: boolean): Name {
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

  protected withArguments(name: Name, isEncoding: boolean): Name {
    const space = name.text.endsWith("<") ? " " : "";
    const text = name.text + space + this.templateArgumentList(isEncoding);
    return { ...name, text, isTemplate: true };
  }

  protected unscopedName(): Name {
    let prefix = "";
    if (this.startsWith("St")) {
      this.at += 2;
      prefix = "std::";
    }
    const name = this.unqualifiedName(undefined);
    return { ...name, text: prefix + name.text };
  }

  protected nestedName(isEncoding: boolean): Name {
    this.expect("N");
    // An explicit object parameter (C++23) is written like a static member.
    this.eat("H");
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

  protected localName(isEncoding: boolean): Name {
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

  /** @param scope what stands before it, for constructors */
  protected override unqualifiedName(scope: Name | undefined): Name {
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

  protected constructorName(scope: Name | undefined): Name {
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

  protected unnamedType(): Name {
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

  protected override operatorName(): Name {
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
}

function named(text: string, base: string | undefined): Name {
  return { text, base: base ?? text, isTemplate: false, isSpecial: false, qualifiers: "" };
}
