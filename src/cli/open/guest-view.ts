import { type Command, InvalidArgumentError } from "commander";
import type { Moment } from "../../moment/moment.js";
import { type Position, positionToJson } from "../../replay/session/position.js";
import { qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import type { CommandContext } from "../shell/run.js";
import { openTape } from "./open-tape.js";

export interface ViewFlags extends TapeOptions {
  readonly at: string;
}

/** Makes a command that shows something of the guest at one instant. */
export function viewCommand(name: string, description: string): Command {
  return tapeCommand(name, description)
    .option("--at <position>", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]", "end")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done");
}

/**
 * Goes to the instant of `--at`, and returns what `look` finds there.
 *
 * @throws VmtapeError `not-found` when no Linux is running at that instant; everything that going there throws
 */
export async function atMoment<T>(
  { signal }: CommandContext,
  name: string,
  flags: ViewFlags,
  look: (moment: Moment) => Promise<T>,
): Promise<T> {
  using progress = new Progress();
  await using open = await openTape(name, flags, progress, signal, flags.at);
  progress[Symbol.dispose]();
  const moment = open.now();
  if (!flags.json) note(`at ${moment.describe()}`);
  return await look(moment);
}

/** A position for the JSON of these commands. */
export function positionFacts(position: Position) {
  const { rep, ...facts } = positionToJson(position);
  return facts;
}

/** Reads a process id. */
export function pid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError("it must be a process id.");
  return Number(text);
}
