import type { Command } from "commander";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, sayFacts, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { tapeFacts, tapeJson } from "./describe-tape.js";

export function repairCommand(): Command {
  return tapeCommand("repair", "make the tape of a killed recorder replay up to its last whole event")
    .option(...qemuOption)
    .action(
      action(async ({ signal }, name: string, options: TapeOptions) => {
        const [{ Tape }, { repairTape }] = await Promise.all([
          import("../../tape/tape.js"),
          import("../../tape/repair.js"),
        ]);
        const places = placesOf(options);
        const before = await Tape.open(places, name, options.dir);
        if (before.state === "complete") note(`${name} is complete: there is nothing to repair`);
        const tape = await repairTape(before.directory, contextFor(options, signal));
        if (options.json) return say(toJson(tapeJson(tape, undefined)));
        sayFacts({
          ...tapeFacts(tape),
          originals: before.state === "complete" ? undefined : tape.layout.original,
        });
      }),
    );
}
