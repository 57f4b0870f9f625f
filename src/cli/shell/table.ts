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
 * Prints rows below their heads, in columns that are as wide on a terminal as their contents need; the last one is
 * not padded. All tables with text of a guest or a user are printed by this, since it escapes control characters.
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
