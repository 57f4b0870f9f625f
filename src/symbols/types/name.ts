import { baseTypeName, templateName } from "./template-name.js";
import type { QualifiedType, Type } from "./type.js";

/** Deeper than this no declaration is spelled out, and no more parts of it. */
const deepest = 64;
const mostParts = 1 << 10;

/**
 * A type as C declares it, in GDB's spelling: `struct file *`, `char [16]`, `int (*)(struct inode *, int)`,
 * `const char * const`.
 *
 * @param around what is declared: `formatType(type, "comm")` gives `char comm[16]`
 */
export function formatType(type: Type, around = ""): string {
  const { left, right } = spell(type, { depth: 0, parts: { left: mostParts } });
  const gap = around === "" ? "" : spaceAfter(left);
  return `${left}${gap}${around}${around === "" ? right : right.trimStart()}`;
}

function spaceAfter(left: string): string {
  return /[^*&(]$/.test(left) ? " " : "";
}

/** A declaration is written around its name: what comes left of it, and right. */
interface Spelling {
  readonly left: string;
  readonly right: string;
}

/** How far a declaration is spelled out already. */
interface Progress {
  readonly depth: number;
  readonly parts: { left: number };
}

function spell(type: Type, progress: Progress): Spelling {
  const { depth, parts } = progress;
  if (depth > deepest || parts.left-- <= 0) return { left: "...", right: "" };
  const deeper = { depth: depth + 1, parts };
  switch (type.kind) {
    case "void":
      return { left: "void", right: "" };
    case "int":
      return { left: baseTypeName(type.name), right: "" };
    case "float":
      return { left: type.name, right: "" };
    case "typedef":
      return { left: templateName(type.name), right: "" };
    case "struct":
    case "union":
    case "class":
    case "enum": {
      const name = type.name === undefined ? "{...}" : templateName(type.name);
      return { left: type.isTagless && type.name ? name : `${type.kind} ${name}`, right: "" };
    }
    case "forward":
      // What stands in for a type, `<data variable, no debug info>`, has no tag.
      return { left: type.name.startsWith("<") ? type.name : `${type.of} ${type.name}`, right: "" };
    case "const":
    case "volatile":
    case "restrict":
    case "atomic":
      return spellQualified(type, deeper);
    case "pointer": {
      const { left, right } = spell(type.target, deeper);
      const sign = type.reference === undefined ? "*" : type.reference === "lvalue" ? "&" : "&&";
      const behind = skipQualifiers(type.target).kind;
      if (behind === "array" || behind === "function") {
        return { left: `${left}${spaceAfter(left)}(${sign}`, right: `)${right.trimStart()}` };
      }
      return { left: `${left}${spaceAfter(left)}${sign}`, right };
    }
    case "array": {
      const { left, right } = spell(type.element, deeper);
      const dimension = `[${type.count ?? ""}]`;
      return { left, right: `${spaceAfter(left)}${dimension}${right.trimStart()}` };
    }
    case "function": {
      const { left, right } = spell(type.result, deeper);
      const parameters = type.parameters.map((parameter) => formatAt(parameter.type, deeper));
      if (type.variadic) parameters.push("...");
      return {
        left,
        right: `${spaceAfter(left)}(${parameters.join(", ") || (type.prototyped ? "void" : "")})${right}`,
      };
    }
  }
}

function formatAt(type: Type, progress: Progress): string {
  const { left, right } = spell(type, progress);
  return left + right;
}

const qualifiers = ["const", "volatile", "restrict", "atomic"] as const;

/** Qualifiers stand before the name, those of a pointer after its star; in one order, however they were applied. */
function spellQualified(type: QualifiedType, deeper: Progress): Spelling {
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
  const { left, right } = spell(plain, deeper);
  // What is said of an array is said of its elements, which may say it, too.
  if (plain.kind === "array" && left.startsWith(`${words} `)) return { left, right };
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
