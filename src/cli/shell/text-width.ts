import stringWidth from "string-width";

/** Printable ASCII: one column a character. Most text is, and is not looked at any further. */
const plain = /^[ -~]*$/;

/** Columns that a text takes on a terminal: two for wide characters and emoji, none for combining ones. */
export function textWidth(text: string): number {
  return plain.test(text) ? text.length : stringWidth(text);
}

/** The text with spaces on one side, so that it takes `width` columns; a wider text stays as it is. */
export function padText(text: string, width: number, align: "left" | "right" = "left"): string {
  const spaces = " ".repeat(Math.max(0, width - textWidth(text)));
  return align === "left" ? text + spaces : spaces + text;
}
