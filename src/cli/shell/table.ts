import pc from "picocolors";
import { printable } from "../../base/printable.js";
import { say, sayStyled } from "./output.js";
import { widthFor } from "./text-width.js";

/** A column of a plain table, as `ps` prints it. */
export interface Column<Row> {
  readonly head: string;
  readonly align?: "left" | "right";
  text(row: Row): string;
}

/**
 * Prints rows under their heads, in columns as wide on a terminal as they need to be; the last one is not padded. The one
 * way in which commands print tables of a guest's or a user's text.
 */
export async function sayTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
  const cells = rows.map((row) => columns.map((column) => printable(column.text(row))));
  const textWidth = await widthFor(cells.flat());
  const widths = columns.map(({ head }, i) =>
    cells.reduce((width, row) => Math.max(width, textWidth(row[i]!)), textWidth(head)),
  );
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => {
        const { align } = columns[i]!;
        if (align !== "right" && i === columns.length - 1) return text;
        const spaces = " ".repeat(widths[i]! - textWidth(text));
        return align === "right" ? spaces + text : text + spaces;
      })
      .join(" ")
      .trimEnd();
  sayStyled(pc.dim(line(columns.map(({ head }) => head))));
  for (const row of cells) say(line(row));
}
