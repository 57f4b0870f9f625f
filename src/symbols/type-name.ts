import type { Type } from "./type.js";

/** Deeper than this no declaration is spelled out. */
const deepest = 64;

/**
 * A type as C declares it, in GDB's spelling: `struct file *`, `char [16]`, `int (*)(struct inode *, int)`,
 * `const char * const`.
 *
 * @param around what is declared: `formatType(type, "comm")` gives `char comm[16]`
 */
export function formatType(type: Type, around = ""): string {
  const { left, right } = spell(type, 0);
  const gap = around !== "" && /[\w}>]$/.test(left) ? " " : "";
  return `${left}${gap}${around}${around === "" ? right : right.trimStart()}`;
}

/** A declaration is written around its name: what comes left of it, and right. */
interface Spelling {
  readonly left: string;
  readonly right: string;
}

function spell(type: Type, depth: number): Spelling {
  if (depth > deepest) return { left: "...", right: "" };
  switch (type.kind) {
    case "void":
      return { left: "void", right: "" };
    case "int":
    case "float":
    case "typedef":
      return { left: type.name, right: "" };
    case "struct":
    case "union":
    case "class":
    case "enum":
      return { left: `${type.kind} ${type.name ?? "{...}"}`, right: "" };
    case "forward":
      return { left: `${type.of} ${type.name}`, right: "" };
    case "const":
    case "volatile":
    case "restrict":
    case "atomic":
      return spellQualified(type.kind, type.target, depth);
    case "pointer": {
      const { left, right } = spell(type.target, depth + 1);
      const sign = type.reference === undefined ? "*" : type.reference === "lvalue" ? "&" : "&&";
      const behind = skipQualifiers(type.target).kind;
      if (behind === "array" || behind === "function") {
        return { left: `${left} (${sign}`, right: `)${right.trimStart()}` };
      }
      return { left: `${left}${/[\w}>]$/.test(left) ? " " : ""}${sign}`, right };
    }
    case "array": {
      const { left, right } = spell(type.element, depth + 1);
      const dimension = `[${type.count ?? ""}]`;
      return { left, right: ` ${dimension}${right.trimStart()}` };
    }
    case "function": {
      const { left, right } = spell(type.result, depth + 1);
      const parameters = type.parameters.map((parameter) => formatAt(parameter.type, depth + 1));
      if (type.variadic) parameters.push("...");
      return { left, right: ` (${parameters.join(", ") || "void"})${right}` };
    }
  }
}

function formatAt(type: Type, depth: number): string {
  const { left, right } = spell(type, depth);
  return left + right;
}

function spellQualified(
  kind: "const" | "volatile" | "restrict" | "atomic",
  target: Type,
  depth: number,
): Spelling {
  const word = kind === "atomic" ? "_Atomic" : kind;
  const { left, right } = spell(target, depth + 1);
  // A qualifier of a pointer stands behind the star; all others before the name.
  const plain = skipQualifiers(target);
  return plain.kind === "pointer" ? { left: `${left} ${word}`, right } : { left: `${word} ${left}`, right };
}

/** What a qualifier is of; typedefs stay, for they are spelled by name. */
function skipQualifiers(type: Type): Type {
  let at = type;
  for (let steps = 0; steps < deepest; steps++) {
    if (at.kind !== "const" && at.kind !== "volatile" && at.kind !== "restrict" && at.kind !== "atomic")
      break;
    at = at.target;
  }
  return at;
}
