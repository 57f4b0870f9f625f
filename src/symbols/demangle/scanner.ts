import { notMangled } from "./declarator.js";

/** Nothing that compilers write nests so deep, or takes so many steps. */
const deepest = 256;
const stepsPerLetter = 400;

/** A cursor over a mangled name, with the parts that all rules share. What does not fit throws `notMangled`. */
export abstract class MangledScanner {
  protected at = 0;
  protected depth = 0;
  protected stepsLeft: number;

  constructor(protected readonly name: string) {
    this.stepsLeft = 1000 + name.length * stepsPerLetter;
  }

  protected peek(): string {
    return this.name[this.at] ?? "";
  }

  protected next(): string {
    const letter = this.name[this.at++];
    if (letter === undefined) throw notMangled;
    return letter;
  }

  protected eat(letter: string): boolean {
    if (this.name[this.at] !== letter) return false;
    this.at++;
    return true;
  }

  protected expect(letter: string): void {
    if (!this.eat(letter)) throw notMangled;
  }

  protected startsWith(text: string): boolean {
    return this.name.startsWith(text, this.at);
  }

  protected number(): number {
    const isNegative = this.eat("n");
    const value = this.naturalNumber();
    return isNegative ? -value : value;
  }

  protected naturalNumber(): number {
    let value = 0;
    let count = 0;
    while (/[0-9]/.test(this.peek())) {
      value = value * 10 + Number(this.next());
      if (++count > 15) throw notMangled;
    }
    if (count === 0) throw notMangled;
    return value;
  }

  protected base36(): number {
    let value = 0;
    for (;;) {
      const letter = this.next();
      if (letter === "_") return value;
      const digit = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".indexOf(letter);
      value = value * 36 + digit;
      if (digit < 0 || value > 1e9) throw notMangled;
    }
  }

  /** A sequence number after a name: `_` is 0, `0_` is 1. */
  protected sequence(): number {
    return this.eat("_") ? 0 : this.base36() + 1;
  }

  protected sourceName(): string {
    const length = this.naturalNumber();
    const text = this.name.slice(this.at, this.at + length);
    if (length === 0 || text.length !== length) throw notMangled;
    this.at += length;
    return /^_GLOBAL_[._$]N/.test(text) ? "(anonymous namespace)" : text;
  }

  /** `_n` or `__nn_`. */
  protected discriminator(): void {
    if (!this.eat("_")) return;
    const isLong = this.eat("_");
    const start = this.at;
    while (/[0-9]/.test(this.peek()) && (isLong || this.at === start)) this.at++;
    if (isLong) this.eat("_");
  }

  protected cvQualifiers(): string {
    let text = "";
    // Written in another order than they are mangled.
    const isRestrict = this.eat("r");
    const isVolatile = this.eat("V");
    if (this.eat("K")) text += " const";
    if (isVolatile) text += " volatile";
    if (isRestrict) text += " restrict";
    return text;
  }

  protected isEndOfEncoding(): boolean {
    const letter = this.peek();
    return letter === "" || letter === "E" || letter === ".";
  }

  protected step(): void {
    if (--this.stepsLeft < 0) throw notMangled;
  }

  protected enter(): void {
    this.step();
    if (++this.depth > deepest) throw notMangled;
  }
}
