/**
 * A type while it is demangled. C++ writes types around a name: what a pointer or reference adds goes between `left`
 * and `right`.
 */
export interface TypeText {
  readonly left: string;
  readonly right: string;
  /** Functions and arrays need brackets around what is put between. */
  readonly shape: "plain" | "function" | "array";
  /** A function whose result is written around it: no blank between. */
  readonly isTight?: boolean;
  readonly reference?: "&" | "&&";
  /** The elements of a template parameter pack. */
  readonly pack?: readonly TypeText[];
  /** The last part of a class name, for its constructors. */
  readonly base?: string;
}

/** No name is longer once demangled: substitutions can make it grow without end. */
export const longestText = 1 << 17;

/** What the name is no name for: thrown by the parser, never past it. */
export const notMangled = new Error("not a mangled name");

/** A type that is written in front of everything. */
export function plain(text: string, base?: string): TypeText {
  return checked({ left: text, right: "", shape: "plain", ...(base !== undefined && { base }) });
}

/** The type as it stands alone. */
export function textOf(type: TypeText): string {
  if (type.pack) return type.pack.map(textOf).join(", ");
  const gap = type.shape === "function" && type.left !== "" && !type.isTight ? " " : "";
  return type.left + gap + type.right;
}

/** Puts a pointer or another mark between: `*`, `&`, `A::*`. */
export function marked(type: TypeText, mark: string): TypeText {
  if (type.shape === "plain") return checked({ left: type.left + mark, right: type.right, shape: "plain" });
  return checked({
    left: `${type.left}${type.isTight ? "" : " "}(${mark}`,
    right: `)${type.right}`,
    shape: "plain",
  });
}

/** A reference, with references to references worked out. */
export function referenced(type: TypeText, mark: "&" | "&&"): TypeText {
  if (type.reference === "&" || (type.reference && mark === "&&")) return type;
  if (type.reference === "&&") {
    const left = type.left.endsWith("&&") ? type.left.slice(0, -1) : type.left;
    return { ...type, left, reference: "&" };
  }
  return { ...marked(type, mark), reference: mark };
}

/** After the type, as ` const`; after the parameters of a function. */
export function qualified(type: TypeText, words: string): TypeText {
  if (words === "" || type.reference) return type;
  // A template argument may be const itself.
  if (type.shape !== "function" && type.left.endsWith(words)) return type;
  if (type.shape === "function") return checked({ ...type, right: type.right + words });
  return checked({ left: type.left + words, right: type.right, shape: type.shape });
}

export function functionType(result: TypeText, parameters: string): TypeText {
  const isTight = result.right !== "";
  return checked({ left: result.left, right: `(${parameters})${result.right}`, shape: "function", isTight });
}

export function arrayType(element: TypeText, size: string): TypeText {
  const right = element.shape === "array" ? element.right.trimStart() : element.right;
  return checked({ left: element.left, right: ` [${size}]${right}`, shape: "array" });
}

function checked(type: TypeText): TypeText {
  if (type.left.length + type.right.length > longestText) throw notMangled;
  return type;
}
