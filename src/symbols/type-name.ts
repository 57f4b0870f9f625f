import type { QualifiedType, Type } from "./type.js";

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
  const gap = around === "" ? "" : spaceAfter(left);
  return `${left}${gap}${around}${around === "" ? right : right.trimStart()}`;
}

/** Compilers spell them out. */
const shortNames = new Map([
  ["long int", "long"],
  ["long unsigned int", "unsigned long"],
  ["long long int", "long long"],
  ["long long unsigned int", "unsigned long long"],
  ["short int", "short"],
  ["short unsigned int", "unsigned short"],
]);

function spaceAfter(left: string): string {
  return /[\w}>]$/.test(left) ? " " : "";
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
      return { left: shortNames.get(type.name) ?? type.name, right: "" };
    case "float":
    case "typedef":
      return { left: type.name, right: "" };
    case "struct":
    case "union":
    case "class":
    case "enum":
      return { left: `${type.kind} ${type.name ?? "{...}"}`, right: "" };
    case "forward":
      // What stands in for a type, `<data variable, no debug info>`, has no tag.
      return { left: type.name.startsWith("<") ? type.name : `${type.of} ${type.name}`, right: "" };
    case "const":
    case "volatile":
    case "restrict":
    case "atomic":
      return spellQualified(type, depth);
    case "pointer": {
      const { left, right } = spell(type.target, depth + 1);
      const sign = type.reference === undefined ? "*" : type.reference === "lvalue" ? "&" : "&&";
      const behind = skipQualifiers(type.target).kind;
      if (behind === "array" || behind === "function") {
        return { left: `${left}${spaceAfter(left)}(${sign}`, right: `)${right.trimStart()}` };
      }
      return { left: `${left}${spaceAfter(left)}${sign}`, right };
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
      return { left, right: ` (${parameters.join(", ") || (type.prototyped ? "void" : "")})${right}` };
    }
  }
}

function formatAt(type: Type, depth: number): string {
  const { left, right } = spell(type, depth);
  return left + right;
}

const qualifiers = ["const", "volatile", "restrict", "atomic"] as const;

/** Qualifiers stand before the name, those of a pointer behind its star; in one order, however they were applied. */
function spellQualified(type: QualifiedType, depth: number): Spelling {
  const found = new Set<string>();
  let plain: Type = type;
  for (let steps = 0; isQualified(plain) && steps < deepest; steps++) {
    found.add(plain.kind);
    plain = plain.target;
  }
  const words = qualifiers
    .filter((kind) => found.has(kind))
    .map((kind) => (kind === "atomic" ? "_Atomic" : kind))
    .join(" ");
  const { left, right } = spell(plain, depth + 1);
  return plain.kind === "pointer" ? { left: `${left} ${words}`, right } : { left: `${words} ${left}`, right };
}

function isQualified(type: Type): type is QualifiedType {
  return (qualifiers as readonly string[]).includes(type.kind);
}

/** What a qualifier is of; typedefs stay, for they are spelled by name. */
function skipQualifiers(type: Type): Type {
  let at = type;
  for (let steps = 0; isQualified(at) && steps < deepest; steps++) at = at.target;
  return at;
}
