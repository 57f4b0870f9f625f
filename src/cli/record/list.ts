import type { Command } from "commander";
import { isVmtapeError } from "../../base/errors.js";
import { homeCommand, placesOf, type TapeOptions } from "../shell/options.js";
import { grouped, say, size, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

interface Row {
  readonly name: string;
  readonly state: string;
  readonly icount: number | null;
  readonly seconds: number | null;
  readonly logBytes: number | null;
  readonly created: string | null;
  readonly proof: string | null;
  readonly problem?: string;
}

export function listCommand(): Command {
  return homeCommand("list", "list the tapes").action(
    action(async (_context, options: TapeOptions) => {
      const rows = await readRows(options);
      if (options.json) return say(toJson(rows));
      if (rows.length === 0)
        return say(`No tapes in ${placesOf(options).home}. Make one: vmtape record NAME`);
      const { default: Table } = await import("cli-table3"); // not for --help: it takes 20 ms to load
      const table = new Table({
        head: ["tape", "state", "instructions", "seconds", "log", "recorded"],
        colAligns: ["left", "left", "right", "right", "right", "left"],
        style: { head: [], border: [], compact: true },
      });
      for (const row of rows) {
        table.push([
          row.name,
          row.problem ?? (row.proof === "not-proved" ? row.state : (row.proof ?? row.state)),
          row.icount === null ? "" : grouped(row.icount),
          row.seconds === null ? "" : row.seconds.toFixed(1),
          row.logBytes === null ? "" : size(row.logBytes),
          row.created?.slice(0, 16).replace("T", " ") ?? "",
        ]);
      }
      for (const line of table.toString().split("\n")) say(line);
    }),
  );
}

async function readRows(options: TapeOptions): Promise<Row[]> {
  const [{ tapeNames }, { Tape }] = await Promise.all([
    import("../../tape/home.js"),
    import("../../tape/tape.js"),
  ]);
  const places = placesOf(options);
  const rows: Row[] = [];
  for (const name of await tapeNames(places)) {
    try {
      const { state, manifest } = await Tape.open(places, name);
      const { end } = manifest;
      rows.push({
        name,
        state,
        icount: end?.icount ?? null,
        seconds: end?.seconds ?? null,
        logBytes: end?.log.bytes ?? null,
        created: manifest.created,
        proof: end ? (manifest.proof?.result ?? "not-proved") : null,
      });
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      if (error.code === "no-such-tape") continue;
      const state = error.code === "tape-unfinished" ? "interrupted" : "damaged";
      rows.push({
        name,
        state,
        icount: null,
        seconds: null,
        logBytes: null,
        created: null,
        proof: null,
        problem: `${state}: ${error.code}`,
      });
    }
  }
  return rows;
}
