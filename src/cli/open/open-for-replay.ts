import type { Places } from "../../tape/home.js";
import { Tape } from "../../tape/tape.js";
import { contextFor, type TapeOptions } from "../shell/options.js";
import { note } from "../shell/output.js";

/** Opens a tape to replay it. Repairs an interrupted one first when the user asked for that. */
export async function openForReplay(
  places: Places,
  name: string,
  options: TapeOptions & { readonly repair?: boolean },
  signal?: AbortSignal,
): Promise<Tape> {
  const tape = await Tape.open(places, name, options.dir);
  if (tape.state !== "interrupted" || !options.repair) {
    tape.requireComplete();
    return tape;
  }
  const { repairTape } = await import("../../tape/repair.js");
  const repaired = await repairTape(tape.directory, contextFor(options, signal));
  note(`repaired ${name}: it replays to icount ${repaired.end.icount}`);
  return repaired;
}
