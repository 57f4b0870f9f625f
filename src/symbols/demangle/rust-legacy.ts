/**
 * Names of rustc before the v0 scheme: an Itanium nested name whose last part is `h` and 16 digits, a hash, which is
 * left out. Source: rustc's `compiler/rustc_symbol_mangling/src/legacy.rs`.
 */

const escapes: Readonly<Record<string, string>> = {
  SP: "@",
  BP: "*",
  RF: "&",
  LT: "<",
  GT: ">",
  LP: "(",
  RP: ")",
  C: ",",
};

/** The path of a legacy Rust name; undefined when it is none. */
export function demangleRustLegacy(name: string): string | undefined {
  const match = /^_{1,3}ZN((?:.|\n)*)17h[0-9a-f]{16}E((?:\.[\w.$]+)?)$/.exec(name);
  if (!match) return undefined;
  const parts: string[] = [];
  const text = match[1]!;
  for (let at = 0; at < text.length; ) {
    const digits = /^[1-9][0-9]{0,5}/.exec(text.slice(at, at + 6));
    if (!digits) return undefined;
    const start = at + digits[0].length;
    const end = start + Number(digits[0]);
    if (end > text.length) return undefined;
    const part = unescaped(text.slice(start, end));
    if (part === undefined) return undefined;
    parts.push(part);
    at = end;
  }
  return parts.length === 0 ? undefined : parts.join("::");
}

function unescaped(part: string): string | undefined {
  // An escape may not come first in an identifier: an underscore was put before it.
  const text = part.startsWith("_$") ? part.slice(1) : part;
  let result = "";
  for (let at = 0; at < text.length; ) {
    const letter = text[at]!;
    if (letter === ".") {
      const isPair = text[at + 1] === ".";
      result += isPair ? "::" : ".";
      at += isPair ? 2 : 1;
    } else if (letter === "$") {
      const end = text.indexOf("$", at + 1);
      const decoded = end < 0 ? undefined : unescapeOne(text.slice(at + 1, end));
      if (decoded === undefined) return undefined;
      result += decoded;
      at = end + 1;
    } else {
      result += letter;
      at++;
    }
  }
  return result;
}

function unescapeOne(code: string): string | undefined {
  const known = escapes[code];
  if (known !== undefined) return known;
  const digits = /^u([0-9a-f]{1,6})$/.exec(code);
  const point = digits ? Number.parseInt(digits[1]!, 16) : Number.NaN;
  return point <= 0x10ffff && point >= 0x20 ? String.fromCodePoint(point) : undefined;
}
