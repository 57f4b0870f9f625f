import { decodePunycode } from "./punycode.js";

/**
 * Rust's v0 mangling. Source: Rust RFC 2603 and "v0 Symbol Format" of the rustc book. Disambiguators and the
 * instantiating crate are left out, as `c++filt` leaves them out.
 */

/** Nothing that compilers write nests so deep, or prints so much. */
const deepest = 200;
const longest = 1 << 17;

const basicTypes: Readonly<Record<string, string>> = {
  a: "i8",
  b: "bool",
  c: "char",
  d: "f64",
  e: "str",
  f: "f32",
  h: "u8",
  i: "isize",
  j: "usize",
  l: "i32",
  m: "u32",
  n: "i128",
  o: "u128",
  p: "_",
  s: "i16",
  t: "u16",
  u: "()",
  v: "...",
  x: "i64",
  y: "u64",
  z: "!",
};

/** The path of a v0 name; undefined when it is none or damaged. */
export function demangleRust(name: string): string | undefined {
  const match = /^_R([A-Za-z0-9_]+)(\.[\w.$]+)?$/s.exec(name);
  if (!match || !/^[A-Z]/.test(match[1]!)) return undefined;
  try {
    const parser = new Parser(match[1]!);
    parser.path(true);
    parser.instantiatingCrate();
    return parser.text;
  } catch (error) {
    if (error === damaged) return undefined;
    throw error;
  }
}

const damaged = new Error("not a Rust v0 name");

class Parser {
  text = "";
  private at = 0;
  private depth = 0;
  /** Lifetimes bound around here. */
  private bound = 0;
  private isSilent = false;

  constructor(private readonly name: string) {}

  /** @param inValue whether generic arguments get `::` before them */
  path(inValue: boolean): void {
    this.enter();
    const tag = this.next();
    switch (tag) {
      case "C": {
        this.disambiguator();
        this.print(this.identifier());
        break;
      }
      case "N": {
        const space = this.next();
        if (!/[A-Za-z]/.test(space)) throw damaged;
        this.path(inValue);
        const number = this.disambiguator();
        const identifier = this.identifier();
        if (/[A-Z]/.test(space)) {
          const kind = { C: "closure", S: "shim" }[space] ?? space;
          this.print(`::{${kind}${identifier === "" ? "" : `:${identifier}`}#${number}}`);
        } else if (identifier !== "") {
          this.print(`::${identifier}`);
        }
        break;
      }
      case "M":
      case "X":
        this.disambiguator();
        this.silently(() => this.path(false));
        this.print("<");
        this.type();
        if (tag === "X") {
          this.print(" as ");
          this.path(false);
        }
        this.print(">");
        break;
      case "Y":
        this.print("<");
        this.type();
        this.print(" as ");
        this.path(false);
        this.print(">");
        break;
      case "I":
        this.path(inValue);
        if (inValue) this.print("::");
        this.print("<");
        this.list(() => this.genericArgument());
        this.print(">");
        break;
      case "B":
        this.backReference(() => this.path(inValue));
        break;
      default:
        throw damaged;
    }
    this.depth--;
  }

  /** A path at the end says where generic code was compiled: it is not shown. */
  instantiatingCrate(): void {
    if (this.at < this.name.length && /[A-Z]/.test(this.peek())) this.silently(() => this.path(false));
    if (this.at < this.name.length) throw damaged;
  }

  private genericArgument(): void {
    if (this.eat("L")) this.lifetime(this.base62());
    else if (this.eat("K")) this.constant(false);
    else this.type();
  }

  private type(): void {
    this.enter();
    const tag = this.next();
    const basic = basicTypes[tag];
    if (basic !== undefined) this.print(basic);
    else this.compoundType(tag);
    this.depth--;
  }

  private compoundType(tag: string): void {
    switch (tag) {
      case "R":
      case "Q":
        this.print("&");
        if (this.eat("L")) {
          const lifetime = this.base62();
          if (lifetime !== 0) {
            this.lifetime(lifetime);
            this.print(" ");
          }
        }
        if (tag === "Q") this.print("mut ");
        this.type();
        return;
      case "P":
      case "O":
        this.print(tag === "P" ? "*const " : "*mut ");
        this.type();
        return;
      case "A":
      case "S":
        this.print("[");
        this.type();
        if (tag === "A") {
          this.print("; ");
          this.constant(true);
        }
        this.print("]");
        return;
      case "T": {
        this.print("(");
        const count = this.list(() => this.type());
        this.print(count === 1 ? ",)" : ")");
        return;
      }
      case "F":
        this.binder(() => this.functionType());
        return;
      case "D":
        this.print("dyn ");
        this.binder(() => this.list(() => this.dynTrait(), " + "));
        if (!this.eat("L")) throw damaged;
        this.dynLifetime(this.base62());
        return;
      case "B":
        this.backReference(() => this.type());
        return;
      default:
        this.at--;
        this.path(false);
    }
  }

  private functionType(): void {
    if (this.eat("U")) this.print("unsafe ");
    if (this.eat("K")) {
      const abi = this.eat("C") ? "C" : this.identifier().replaceAll("_", "-");
      this.print(`extern "${abi}" `);
    }
    this.print("fn(");
    this.list(() => this.type());
    this.print(")");
    if (this.eat("u")) return;
    this.print(" -> ");
    this.type();
  }

  private dynTrait(): void {
    let isOpen = this.openPath();
    while (this.eat("p")) {
      this.print(isOpen ? ", " : "<");
      isOpen = true;
      this.print(`${this.identifier()} = `);
      this.type();
    }
    if (isOpen) this.print(">");
  }

  /** A trait's path; its generic arguments are left open for associated types. Says whether there are some. */
  private openPath(): boolean {
    if (this.peek() === "B") {
      let isOpen = false;
      this.at++;
      this.backReference(() => {
        isOpen = this.openPath();
      });
      return isOpen;
    }
    if (!this.eat("I")) {
      this.path(false);
      return false;
    }
    this.path(false);
    this.print("<");
    this.list(() => this.genericArgument());
    return true;
  }

  private dynLifetime(index: number): void {
    if (index === 0) return;
    this.print(" + ");
    this.lifetime(index);
  }

  private constant(inType: boolean): void {
    this.enter();
    const type = this.next();
    switch (type) {
      case "B":
        this.backReference(() => this.constant(inType));
        break;
      case "p":
        this.print("_");
        break;
      case "b": {
        const value = this.hexDigits();
        if (value !== "0" && value !== "1") throw damaged;
        this.print(value === "1" ? "true" : "false");
        break;
      }
      case "c": {
        const point = Number.parseInt(this.hexDigits() || "0", 16);
        if (!(point <= 0x10ffff)) throw damaged;
        this.print(quoted(point));
        break;
      }
      default: {
        if (!/[ahijlmnostxy]/.test(type)) throw damaged;
        const sign = this.eat("n") ? "-" : "";
        const digits = this.hexDigits();
        this.print(sign + (digits.length > 16 ? `0x${digits}` : BigInt(`0x${digits || "0"}`).toString()));
      }
    }
    this.depth--;
  }

  private hexDigits(): string {
    const end = this.name.indexOf("_", this.at);
    const digits = end < 0 ? "" : this.name.slice(this.at, end);
    if (end < 0 || !/^[0-9a-f]*$/.test(digits)) throw damaged;
    this.at = end + 1;
    return digits.replace(/^0+(?=.)/, "");
  }

  /** `for<'a, 'b> ` before what follows. */
  private binder(body: () => void): void {
    const count = this.eat("G") ? this.base62() + 1 : 0;
    if (count > 1000) throw damaged;
    if (count > 0) {
      const names: string[] = [];
      for (let i = 0; i < count; i++) names.push(`'${lifetimeName(this.bound + i)}`);
      this.print(`for<${names.join(", ")}> `);
    }
    this.bound += count;
    body();
    this.bound -= count;
  }

  private lifetime(index: number): void {
    const depth = this.bound - index;
    if (depth < 0) throw damaged;
    this.print(index === 0 ? "'_" : `'${lifetimeName(depth)}`);
  }

  private list(item: () => void, separator = ", "): number {
    let count = 0;
    while (!this.eat("E")) {
      if (count++ > 0) this.print(separator);
      item();
    }
    return count;
  }

  private backReference(body: () => void): void {
    // The offset of the B itself bounds it: references lead back, so they end.
    const limit = this.at - 1;
    const target = this.base62();
    if (target >= limit) throw damaged;
    if (this.isSilent) return;
    const back = this.at;
    this.at = target;
    body();
    this.at = back;
  }

  private silently(body: () => void): void {
    const was = this.isSilent;
    this.isSilent = true;
    body();
    this.isSilent = was;
  }

  /** The number that tells namesakes apart; the first has 0. */
  private disambiguator(): number {
    return this.eat("s") ? this.base62() + 1 : 0;
  }

  private identifier(): string {
    const isPunycode = this.eat("u");
    const digits = /^(?:0|[1-9][0-9]{0,5})/.exec(this.name.slice(this.at, this.at + 6));
    if (!digits) throw damaged;
    this.at += digits[0].length;
    this.eat("_");
    const length = Number(digits[0]);
    const text = this.name.slice(this.at, this.at + length);
    if (text.length !== length) throw damaged;
    this.at += length;
    if (!isPunycode) return text;
    const decoded = decodePunycode(text);
    if (decoded === undefined) throw damaged;
    return decoded;
  }

  /** `_` is 0, `0_` is 1, `1_` is 2 … */
  private base62(): number {
    if (this.eat("_")) return 0;
    let value = 0;
    for (;;) {
      const letter = this.next();
      if (letter === "_") return value + 1;
      const digit = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".indexOf(letter);
      value = value * 62 + digit;
      // A crate's number has 64 bits: it is not shown, so it need not be exact.
      if (digit < 0 || value > 2 ** 70) throw damaged;
    }
  }

  private enter(): void {
    if (++this.depth > deepest) throw damaged;
  }

  private print(text: string): void {
    if (this.isSilent) return;
    this.text += text;
    if (this.text.length > longest) throw damaged;
  }

  private peek(): string {
    return this.name[this.at] ?? "";
  }

  private next(): string {
    const letter = this.name[this.at++];
    if (letter === undefined) throw damaged;
    return letter;
  }

  private eat(letter: string): boolean {
    if (this.name[this.at] !== letter) return false;
    this.at++;
    return true;
  }
}

function lifetimeName(depth: number): string {
  return depth < 26 ? String.fromCharCode(0x61 + depth) : `_${depth}`;
}

function quoted(point: number): string {
  const known = { 9: "\\t", 10: "\\n", 13: "\\r", 39: "\\'", 92: "\\\\" }[point];
  if (known !== undefined) return `'${known}'`;
  return point >= 0x20 && point < 0x7f ? `'${String.fromCharCode(point)}'` : `'\\u{${point.toString(16)}}'`;
}
