import { type Command, InvalidArgumentError } from "commander";
import { levelSums } from "../../views/levels.js";
import { grouped, say, toJson } from "../shell/output.js";
import { sayTable } from "../shell/table.js";
import { openWindow, type WindowFlags, windowCommand, withWindow } from "./window.js";

interface LevelsFlags extends WindowFlags {
  readonly cells: number;
}

export function levelsCommand(): Command {
  return withWindow(
    windowCommand("levels", "tell what went on in a tape, in cells of equal length").option(
      "--cells <n>",
      "no more than so many (64 at least)",
      cells,
      64,
    ),
    async (signal, name, range, flags: LevelsFlags) => {
      const { tapeLevels } = await import("../../survey/tape-levels.js");
      await using window = await openWindow(name, range, flags, signal, true);
      const { tape, from, to, progress, history, symbols } = window;
      const levels = await tapeLevels(tape, window.open.log, history, {
        names: symbols,
        onProgress: progress.sink,
        signal,
      });
      progress[Symbol.dispose]();
      const { length, width, task, taskAmount, sums, vectors, ...part } = levels.query(
        Number(from),
        Number(to),
        flags.cells,
      );
      const rows = Array.from({ length }, (_, cell) => {
        const who = task[cell]! < 0 ? undefined : history?.tasks[task[cell]!];
        return {
          from: part.from + cell * width,
          task: who ? { pid: who.pid < 0 ? null : who.pid, name: who.name } : null,
          taskInstructions: taskAmount[cell]!,
          ...Object.fromEntries(levelSums.map((sum) => [sum, sums[sum][cell]!])),
          vectors: Object.fromEntries(levels.vectors.map((vector, i) => [vector, vectors[i]![cell]!])),
        };
      });
      if (flags.json) return say(toJson({ width, cells: rows }));
      type Row = (typeof rows)[number] & Readonly<Record<string, unknown>>;
      await sayTable<Row>(
        [
          { head: "FROM", align: "right", text: (row) => `@${row.from}` },
          ...levelSums.map((sum) => ({
            head: sum.toUpperCase(),
            align: "right" as const,
            text: (row: Row) => grouped(row[sum] as number),
          })),
          { head: "TASK", text: (row) => row.task?.name ?? "" },
        ],
        rows as Row[],
      );
    },
  );
}

function cells(text: string): number {
  const value = Number(text);
  if (!/^\d{2,5}$/.test(text) || value < 64)
    throw new InvalidArgumentError("it must be a number from 64 to 99999.");
  return value;
}
