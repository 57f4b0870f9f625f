import { demangleItanium } from "./itanium.js";
import { demangleRust } from "./rust.js";
import { demangleRustLegacy } from "./rust-legacy.js";

/** Longer names are left as they are; the longest of real programs have some thousand letters. */
const longestName = 1 << 16;

export interface DemangleOptions {
  /** Whether a template function's result type is written before it, as `c++filt` does and GDB does not. Default true. */
  readonly hasResult?: boolean;
}

/**
 * The name as its programmer wrote it, of a C++ function or object (Itanium C++ ABI) or a Rust one (v0 and legacy), in
 * the spelling of `c++filt`; any other name as it is. What a compiler or linker put after it stays:
 * `f(int) [clone .constprop.0]`, `f(int)@plt`.
 *
 * Cost: some microseconds, whatever the name: the work is bounded, and what goes beyond stays mangled.
 */
export function demangle(name: string, { hasResult = true }: DemangleOptions = {}): string {
  // The cheap question first: most names of most programs are not mangled.
  if (name.charCodeAt(0) !== 0x5f || name.length < 3 || name.length > longestName) return name;
  const second = name.charCodeAt(1);
  if (second === 0x52) return demangleWith(demangleRust, name);
  if (second !== 0x5a && !name.startsWith("__Z") && !name.startsWith("___Z")) return name;
  const rust = demangleWith(demangleRustLegacy, name);
  return rust === name ? demangleWith((own) => demangleItanium(own, hasResult), name) : rust;
}

/**
 * The name without the parameters and what stands after them, and without a result before it:
 * `A::f` of `void A::f(int) const [clone .cold]`. A name without parameters stays as it is.
 */
export function withoutParameters(demangled: string): string {
  const text = demangled.replace(/ \[clone [^\]]*\]/g, "");
  let depth = 0;
  let start = 0;
  let startOfLast = 0;
  let open = -1;
  let close = -1;
  let hasOperator = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]!;
    if (depth === 0 && letter === "o" && text.startsWith("operator", i) && !/\w/.test(text[i - 1] ?? " ")) {
      // Its sign may be a bracket, and blanks after it end no result type.
      hasOperator = true;
      i += /^operator(?:\(\)|\[\]|[^\w\s([]+|)/.exec(text.slice(i, i + 12))![0].length - 1;
    } else if (letter === "(" || letter === "<" || letter === "{" || letter === "[") {
      if (letter === "(" && depth === 0 && !text.startsWith("(anonymous namespace)", i)) {
        open = i;
        startOfLast = start;
      }
      depth++;
    } else if (letter === ")" || letter === ">" || letter === "}" || letter === "]") {
      depth--;
      if (depth === 0 && letter === ")") close = i;
    } else if (letter === " " && depth === 0 && !hasOperator && open < 0) {
      start = i + 1;
    }
  }
  const isList = open >= 0 && close > open && /^(?: const| volatile| &&?)*$/.test(text.slice(close + 1));
  return isList ? text.slice(startOfLast, open) : text;
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
