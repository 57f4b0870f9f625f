import { VmtapeError } from "../../base/errors.js";

/** A piece of an expression; `column` counts characters from 1. */
export type Token =
  | { readonly kind: "name" | "register" | "sign" | "end"; readonly text: string; readonly column: number }
  | { readonly kind: "integer"; readonly text: string; readonly column: number; readonly value: bigint }
  | { readonly kind: "float"; readonly text: string; readonly column: number; readonly value: number }
  | { readonly kind: "character"; readonly text: string; readonly column: number; readonly value: number }
  | { readonly kind: "string"; readonly text: string; readonly column: number; readonly bytes: Uint8Array };

/** Longest first. */
const signs = [
  "<<=", ">>=", "...", "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=",
  "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "@", "=", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "<", ">",
]; // biome-ignore format: a table

/** No expression is longer that a person writes. */
const longest = 1 << 14;
const nameStart = /[A-Za-z_]/;
/** Names go on with scopes (`std::string`, `core::fmt::Formatter`); kernel symbols have dots: `do_exit.cold`. */
const wholeName = /^[A-Za-z_][\w]*(?:::~?[A-Za-z_]\w*)*/;
const wholeNumber =
  /^(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)/;
const escapes = new Map([
  ["a", 7],
  ["b", 8],
  ["t", 9],
  ["n", 10],
  ["v", 11],
  ["f", 12],
  ["r", 13],
  ["e", 27],
]);

/**
 * Takes an expression apart; the last token is of kind `end`.
 *
 * @throws VmtapeError `usage` with the column of what is in no expression
 */
export function tokenize(text: string): Token[] {
  if (text.length > longest) {
    throw expressionError(text, 1, `the expression has ${text.length} characters, more than ${longest}`);
  }
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (/\s/.test(text[at] ?? "")) at++;
    if (at >= text.length) break;
    const token = tokenAt(text, at);
    tokens.push(token);
    at += token.text.length;
  }
  tokens.push({ kind: "end", text: "", column: text.length + 1 });
  return tokens;
}

/** An expression that cannot be understood or evaluated, and where. */
export function expressionError(
  expression: string,
  column: number,
  what: string,
  facts: Readonly<Record<string, unknown>> = {},
): VmtapeError {
  return new VmtapeError("usage", `${what}, at column ${column} of '${expression}'`, {
    expression,
    column,
    ...facts,
  });
}

function tokenAt(text: string, at: number): Token {
  const column = at + 1;
  const char = text[at]!;
  const rest = text.slice(at, at + 512);
  if (nameStart.test(char)) return { kind: "name", text: wholeName.exec(rest)![0], column };
  if (char === "$") {
    const name = /^\$\w*/.exec(rest)![0];
    if (name === "$") throw expressionError(text, column, "'$' without the name of a register");
    return { kind: "register", text: name, column };
  }
  if (/[0-9]/.test(char) || (char === "." && /[0-9]/.test(rest[1] ?? ""))) return numberAt(text, at, rest);
  if (char === "'") return characterAt(text, at);
  if (char === '"') return stringAt(text, at);
  const sign = signs.find((candidate) => rest.startsWith(candidate));
  if (sign !== undefined) return { kind: "sign", text: sign, column };
  throw expressionError(text, column, `'${char}' is in no expression`);
}

function numberAt(text: string, at: number, rest: string): Token {
  const column = at + 1;
  const digits = wholeNumber.exec(rest)![0];
  const isFloat = /^[^xX]*[.eE]/.test(digits);
  const suffix = (isFloat ? /^[fFlL]?/ : /^(?:[uU][lL]{0,2}|[lL]{1,2}[uU]?)?/).exec(
    rest.slice(digits.length),
  )![0];
  const whole = digits + suffix;
  if (/[\w]/.test(rest[whole.length] ?? "")) {
    throw expressionError(text, column, `'${/^[\w.]+/.exec(rest)?.[0]}' is no number`);
  }
  if (isFloat) return { kind: "float", text: whole, column, value: Number(digits) };
  if (digits.length > 70) throw expressionError(text, column, "a number has more than 64 bits");
  const isOctal = /^0\d/.test(digits);
  if (isOctal && /[89]/.test(digits)) {
    throw expressionError(text, column, `'${digits}' is octal, and has an 8 or 9`);
  }
  const value = BigInt(isOctal ? `0o${digits.slice(1)}` : digits);
  if (value >= 1n << 64n) throw expressionError(text, column, `${digits} has more than 64 bits`);
  return { kind: "integer", text: whole, column, value };
}

function characterAt(text: string, at: number): Token {
  const { value, end } = codeAt(text, at + 1, at + 1);
  if (text[at + 1] === "'" || text[end] !== "'") {
    throw expressionError(text, at + 1, "a character is not closed by another '");
  }
  return { kind: "character", text: text.slice(at, end + 1), column: at + 1, value };
}

function stringAt(text: string, at: number): Token {
  const bytes: number[] = [];
  let next = at + 1;
  while (text[next] !== '"') {
    if (next >= text.length) throw expressionError(text, at + 1, 'a string is not closed by another "');
    const { value, end } = codeAt(text, next, at + 1);
    if (value > 0x7f && text[next] !== "\\") bytes.push(...Buffer.from(String.fromCodePoint(value)));
    else bytes.push(value);
    next = end;
  }
  return { kind: "string", text: text.slice(at, next + 1), column: at + 1, bytes: Uint8Array.from(bytes) };
}

/** One character, or what a backslash and the following stand for. */
function codeAt(text: string, at: number, column: number): { readonly value: number; readonly end: number } {
  const code = text.codePointAt(at);
  if (code === undefined) throw expressionError(text, column, "the expression ends within quotes");
  if (code !== 0x5c) return { value: code, end: at + (code > 0xffff ? 2 : 1) };
  const rest = text.slice(at + 1, at + 5);
  const octal = /^[0-7]{1,3}/.exec(rest)?.[0];
  if (octal) return { value: Number.parseInt(octal, 8) & 0xff, end: at + 1 + octal.length };
  const hexadecimal = /^x([0-9a-fA-F]{1,2})/.exec(rest);
  if (hexadecimal) {
    return { value: Number.parseInt(hexadecimal[1]!, 16), end: at + 1 + hexadecimal[0].length };
  }
  const char = rest[0];
  if (char === undefined) throw expressionError(text, column, "the expression ends within quotes");
  return { value: escapes.get(char) ?? char.charCodeAt(0), end: at + 2 };
}
