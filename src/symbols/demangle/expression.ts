import { longestText, notMangled, type TypeText, textOf } from "./declarator.js";
import { MangledScanner } from "./scanner.js";
import { literalSuffixes, operators } from "./tables.js";

/** What an unqualified name is for the rules around it. */
export interface NamePart {
  readonly text: string;
}

/** Rules of the ABI's 5.1.6, expressions: they stand in template arguments and `decltype`. */
export abstract class ExpressionParser extends MangledScanner {
  /** While a pack is expanded: which element T_ stands for. */
  protected packIndex = -1;
  /** The length of the pack that the pattern just read holds; -1 for none. */
  protected packLength = -1;
  /** No substitutions are added while a part is read for the second time. */
  protected isRepeating = false;
  /** Whether the expression just read needs no brackets as a part of another. */
  protected isSimple = false;
  /** The function that the literal just read names, where that has a scope: its address is written without parameters. */
  protected functionName: string | undefined;

  protected expression(): string {
    this.enter();
    const text = this.expressionText();
    this.depth--;
    if (text.length > longestText) throw notMangled;
    return text;
  }

  protected expressions(end: string): string[] {
    const parts: string[] = [];
    while (!this.eat(end)) {
      const text = this.expression();
      if (text !== "") parts.push(text);
    }
    return parts;
  }

  /** An expression as a part of another: in brackets, unless it is a name, a parameter or a list in braces. */
  protected operand(isAddressed = false): string {
    this.isSimple = false;
    this.functionName = undefined;
    const text = this.expression();
    const isSimple = this.isSimple;
    this.isSimple = false;
    if (isAddressed && this.functionName !== undefined) return this.functionName;
    return isSimple ? text : `(${text})`;
  }

  protected simple(text: string): string {
    this.isSimple = true;
    return text;
  }

  protected expressionText(): string {
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

  protected operation(code: string): string {
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

  protected call(): string {
    const callee = this.operand();
    const parts = this.expressions("E");
    this.isSimple = false;
    return `${callee}(${parts.join(", ")})`;
  }

  protected newExpression(code: string): string {
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

  protected functionParameter(): string {
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

  protected operatorSpelling(): string {
    const known = operators[this.name.slice(this.at, this.at + 2)];
    if (!known) throw notMangled;
    this.at += 2;
    return known[0];
  }

  protected scopedOrSimple(): string {
    const text = this.scopedName();
    this.isSimple = !text.endsWith(">");
    return text;
  }

  protected dependentNameOrSimple(): string {
    const text = this.dependentName();
    this.isSimple = !text.endsWith(">");
    return text;
  }

  protected dependentName(): string {
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

  protected dependentOperator(): string {
    const text = this.operatorName().text;
    return text + (this.peek() === "I" ? this.templateArgumentList(false) : "");
  }

  protected scopedName(): string {
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

  protected packExpression(): string {
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

  protected packSize(): string {
    if (this.peek() === "T") {
      const outerIndex = this.packIndex;
      this.packIndex = -1;
      const { pack } = this.templateParameter();
      this.packIndex = outerIndex;
      if (pack) return String(pack.length);
    }
    return `sizeof...(${this.functionParameter()})`;
  }

  /** `L <type> <value> E`, or the name of an object or function. */
  protected literal(): string {
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

  protected abstract type(): TypeText;
  protected abstract templateArgument(): TypeText[];
  protected abstract templateArgumentList(isEncoding: boolean): string;
  protected abstract templateParameter(): TypeText;
  protected abstract unqualifiedName(scope: undefined): NamePart;
  protected abstract operatorName(): NamePart;
  protected abstract encoding(isWhole: boolean): string;
}
