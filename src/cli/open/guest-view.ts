import { type Command, InvalidArgumentError } from "commander";
import { throwIfCancelled } from "../../base/stopping.js";
import { hex } from "../../base/units.js";
import type { LinuxGuest } from "../../linux/guest/linux-guest.js";
import type { Position } from "../../replay/session/position.js";
import { qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import type { CommandContext } from "../shell/run.js";
import { openTimeline } from "./open-timeline.js";

export interface ViewFlags extends TapeOptions {
  readonly at: string;
}

/** A command that looks at a tape's guest as it stands at one instant. */
export function viewCommand(name: string, description: string): Command {
  return tapeCommand(name, description)
    .option("--at <position>", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]", "end")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done");
}

/** The guest's Linux at an instant, and which it is. */
export interface GuestView {
  readonly guest: LinuxGuest;
  readonly position: Position;
}

/**
 * Goes to the wanted instant and looks.
 *
 * @throws VmtapeError `not-found` when no Linux runs there; everything that going there throws
 */
export async function atGuest<T>(
  { signal }: CommandContext,
  name: string,
  flags: ViewFlags,
  look: (view: GuestView) => Promise<T>,
): Promise<T> {
  const { parsePosition } = await import("../../replay/session/position.js");
  parsePosition(flags.at); // a mistake is told before anything takes time
  using progress = new Progress();
  await using open = await openTimeline(name, flags, progress, signal);
  const { timeline } = open;
  throwIfCancelled(await timeline.goTo(await open.locate(flags.at, signal), signal));
  progress[Symbol.dispose]();
  const { position } = timeline;
  if (!flags.json) note(`at ${open.describe(position)}`);
  const { linuxOf } = await import("../../linux/names/tape-instant.js");
  return await look({ guest: await linuxOf(open), position });
}

/** A position as JSON has it. */
export function positionFacts({ icount, brctr, pc }: Position) {
  return { icount, brctr, pc: hex(pc) };
}

/** A process id as an argument. */
export function pid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError("it must be a process id.");
  return Number(text);
}
