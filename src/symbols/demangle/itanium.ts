import { longestText, notMangled } from "./declarator.js";
import { NameParser } from "./name.js";

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
    const parser = new NameParser(own);
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
