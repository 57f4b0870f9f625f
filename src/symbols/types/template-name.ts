/** Compilers spell them out; GDB does not. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ["long int", "long"],
  ["long unsigned int", "unsigned long"],
  ["long long int", "long long"],
  ["long long unsigned int", "unsigned long long"],
  ["short int", "short"],
  ["short unsigned int", "unsigned short"],
]);

/** The name of a base type as GDB has it. */
export function baseTypeName(name: string): string {
  return shortNames.get(name) ?? name;
}

/** Arguments within arguments, and names that are longer, are left as they are. */
const deepest = 64;
const longest = 1 << 14;

/**
 * The name of a C++ type as GDB has it: in template arguments short names of integers, `const` after what it is of.
 * `std::vector<long int, std::allocator<long int> >` is `std::vector<long, std::allocator<long> >`.
 */
export function templateName(name: string, depth = 0): string {
  const open = name.indexOf("<");
  if (open < 0 || depth > deepest || name.length > longest || name.includes("operator")) return name;
  const ends: number[] = [];
  const close = closing(name, open, ends);
  if (close === undefined) return name;
  const args = ends.map((end, i) =>
    argument(name.slice(i === 0 ? open + 1 : ends[i - 1]! + 1, end).trim(), depth),
  );
  const gap = args.at(-1)?.endsWith(">") ? " " : "";
  return `${name.slice(0, open)}<${args.join(", ")}${gap}>${templateName(name.slice(close + 1), depth + 1)}`;
}

/** The bracket that closes the one at `open`; where each argument ends goes into `ends`. */
function closing(name: string, open: number, ends: number[]): number | undefined {
  let nested = 0;
  for (let at = open + 1; at < name.length; at++) {
    const char = name[at]!;
    if (char === "<" || char === "(" || char === "{" || char === "[") nested++;
    else if (char === "," && nested === 0) ends.push(at);
    else if (char === ">" && nested === 0) {
      ends.push(at);
      return at;
    } else if (char === ")" || char === "}" || char === "]" || (char === ">" && name[at - 1] !== "-"))
      nested--;
  }
  return undefined;
}

const integer = /^(?:(?:long|short|unsigned|int) ?)+(?=$|[ *&[(])/;

function argument(text: string, depth: number): string {
  const isConst = text.startsWith("const ");
  const whole = templateName(isConst ? text.slice(6) : text, depth + 1);
  const words = integer.exec(whole)?.[0].trim();
  const plain = words === undefined ? whole : baseTypeName(words) + whole.slice(words.length);
  if (!isConst) return plain;
  const end = endOfName(plain);
  return `${plain.slice(0, end).trimEnd()} const${plain.slice(end)}`;
}

/** Where a pointer's or reference's sign stands, outside of brackets. */
function endOfName(text: string): number {
  let nested = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === "<" || char === "(") nested++;
    else if (char === ">" || char === ")") nested--;
    else if (nested === 0 && (char === "*" || char === "&")) return at;
  }
  return text.length;
}
