/** Columns that a text takes on a terminal: two for wide characters and emoji, none for combining ones. */
export type TextWidth = (text: string) => number;

/** Printable ASCII: one column a character. */
const plain = /^[ -~]*$/;

/**
 * A function that measures these texts. The tables of wide characters are loaded only when there are any: it takes 20
 * ms or more.
 */
export async function widthFor(texts: readonly string[]): Promise<TextWidth> {
  if (texts.every((text) => plain.test(text))) return (text) => text.length;
  const { default: stringWidth } = await import("string-width");
  return (text) => (plain.test(text) ? text.length : stringWidth(text));
}
