import type { Command } from "commander";
import { isVmtapeError } from "../../base/errors.js";
import { homeCommand, placesOf, type TapeOptions } from "../shell/options.js";
import { grouped, say, size, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { type Column, sayTable } from "../shell/table.js";

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

const columns: readonly Column<Row>[] = [
  { head: "tape", text: ({ name }) => name },
  {
    head: "state",
    text: ({ problem, proof, state }) => problem ?? (proof === "not-proved" ? state : (proof ?? state)),
  },
  {
    head: "instructions",
    align: "right",
    text: ({ icount }) => (icount === null ? "" : grouped(icount)),
  },
  { head: "seconds", align: "right", text: ({ seconds }) => seconds?.toFixed(1) ?? "" },
  { head: "log", align: "right", text: ({ logBytes }) => (logBytes === null ? "" : size(logBytes)) },
  { head: "recorded", text: ({ created }) => created?.slice(0, 16).replace("T", " ") ?? "" },
];

export function listCommand(): Command {
  return homeCommand("list", "list the tapes").action(
    action(async (_context, options: TapeOptions) => {
      const rows = await readRows(options);
      if (options.json) return say(toJson(rows));
      if (rows.length === 0)
        return say(`No tapes in ${placesOf(options).home}. Make one: vmtape record NAME`);
      await sayTable(columns, rows);
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
