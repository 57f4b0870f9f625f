/**
 * What a terminal or a reader of lines would take for more than text: C0 and C1 controls, DEL, Unicode's line and paragraph
 * separators, and what turns the direction of writing.
 */
const others = "\\u007f-\\u009f\\u061c\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069";
const controls = new RegExp(`[\\u0000-\\u001f${others}]`, "g");
const controlsButTab = new RegExp(`[\\u0000-\\u0008\\u000a-\\u001f${others}]`, "g");

/** Those with a letter in C, as `ls -b` and GDB write them. */
const letters: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
};

/**
 * Text of a guest or of a stranger's file for a line of output: a path, a name or an argument may hold anything, but makes
 * neither a line nor a terminal's command of its own. Control characters become `\n`, `\t` …, or their bytes in octal, `\033`,
 * as `ls -b`, GDB and /proc write them. Backslashes stay, so doing it twice changes nothing.
 *
 * @param options.tabs they stay: within a line they do no harm
 */
export function printable(text: string, options: { readonly tabs?: boolean } = {}): string {
  return text.replace(options.tabs ? controlsButTab : controls, escaped);
}

function escaped(character: string): string {
  const letter = letters[character];
  if (letter !== undefined) return letter;
  return [...Buffer.from(character, "utf8")].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

/** The same characters in JSON text, which has them in strings alone: a reader gets the exact value back. */
export function escapeJson(json: string): string {
  return json.replace(controls, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
