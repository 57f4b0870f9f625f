import { demangleItanium } from "./demangle-itanium.js";
import { demangleRust } from "./demangle-rust.js";
import { demangleRustLegacy } from "./demangle-rust-legacy.js";

/** Longer names are left as they are; the longest of real programs have some thousand letters. */
const longestName = 1 << 16;

/**
 * The name as its programmer wrote it, of a C++ function or object (Itanium C++ ABI) or a Rust one (v0 and legacy), in
 * the spelling of `c++filt`; any other name as it is. What a compiler or linker put behind it stays:
 * `f(int) [clone .constprop.0]`, `f(int)@plt`.
 *
 * Cost: some microseconds, whatever the name: the work is bounded, and what goes beyond stays mangled.
 */
export function demangle(name: string): string {
  // The cheap question first: most names of most programs are not mangled.
  if (name.charCodeAt(0) !== 0x5f || name.length < 3 || name.length > longestName) return name;
  const second = name.charCodeAt(1);
  if (second === 0x52) return demangleWith(demangleRust, name);
  if (second !== 0x5a && !name.startsWith("__Z") && !name.startsWith("___Z")) return name;
  const rust = demangleWith(demangleRustLegacy, name);
  return rust === name ? demangleWith(demangleItanium, name) : rust;
}

/** The name without the parameters, qualifiers and clone marks behind it, and without a return type before it. */
export function withoutParameters(demangled: string): string {
  // Brackets are matched from the left: an operator's name may hold some itself.
  const text = demangled.replace(/ \[clone [^\]]*\]/g, "");
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const operator = depth === 0 && /^operator(?:\(\)|[^\w\s(]+|$)/.exec(text.slice(i, i + 12));
    if (operator && !/\w/.test(text[i - 1] ?? "")) {
      i += operator[0].length - 1;
      continue;
    }
    const letter = text[i]!;
    if (letter === "(" && depth === 0 && !text.startsWith("(anonymous namespace)", i)) {
      return text.slice(start, i);
    }
    if (letter === "(" || letter === "<" || letter === "{" || letter === "[") depth++;
    else if (letter === ")" || letter === "}" || letter === "]") depth--;
    else if (letter === ">" && text[i - 1] !== "-") depth--;
    else if (letter === " " && depth === 0 && !text.startsWith("operator ", i - 8)) start = i + 1;
  }
  return text.slice(start);
}

/** Whether a name is one that `demangle` makes readable. */
export function isMangled(name: string): boolean {
  return demangle(name) !== name;
}

function demangleWith(decode: (name: string) => string | undefined, name: string): string {
  // `foo@plt`, `foo@@VERSION`: the linker's.
  const at = name.indexOf("@");
  const own = at < 0 ? name : name.slice(0, at);
  const decoded = decode(own);
  return decoded === undefined ? name : decoded + (at < 0 ? "" : name.slice(at));
}
