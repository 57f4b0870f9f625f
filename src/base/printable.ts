/**
 * Characters that a terminal or a reader of lines does not take as plain text: DEL and C1 controls, Unicode's line
 * and paragraph separators, and those that change the direction of writing.
 */
const others = "\\u007f-\\u009f\\u061c\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069";
const controls = new RegExp(`[\\u0000-\\u001f${others}]`, "g");
const controlsButTab = new RegExp(`[\\u0000-\\u0008\\u000a-\\u001f${others}]`, "g");

/** Control characters that C writes with a letter, as `ls -b` and GDB do. */
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
 * Makes text from a guest or from a stranger's file safe to print within a line: it can then neither begin a new line
 * nor send commands to the terminal. Control characters become `\n`, `\t` …, or their bytes in octal, `\033`, as `ls
 * -b`, GDB and /proc write them. Backslashes stay as they are, so applying it twice changes nothing more.
 *
 * @param options.tabs keep tabs as they are, since they do no harm within a line
 */
export function printable(text: string, options: { readonly tabs?: boolean } = {}): string {
  return text.replace(options.tabs ? controlsButTab : controls, escaped);
}

function escaped(character: string): string {
  const letter = letters[character];
  if (letter !== undefined) return letter;
  return [...Buffer.from(character, "utf8")].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

/**
 * Escapes the same characters in JSON text. They only occur in its strings, so a reader gets the exact value back.
 */
export function escapeJson(json: string): string {
  return json.replace(controls, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
