import type { Command } from "commander";
import { VmtapeError } from "../base/errors.js";
import { tapeFacts, tapeJson } from "./describe-tape.js";
import { placesOf, type TapeOptions, tapeCommand } from "./options.js";
import { say, sayFacts, toJson } from "./output.js";
import { action } from "./run.js";

export function stopCommand(): Command {
  return tapeCommand("stop", "end a running recording; its tape replays to that point").action(
    action(async (_context, name: string, options: TapeOptions) => {
      const [{ Tape }, { ControlClient }] = await Promise.all([
        import("../tape/tape.js"),
        import("../tape/control.js"),
      ]);
      const places = placesOf(options);
      const tape = await Tape.open(places, name, options.dir);
      if (tape.state !== "recording") {
        throw new VmtapeError("tape-idle", `tape '${name}' is not being recorded (it is ${tape.state})`);
      }
      const client = await ControlClient.connect(places, tape.directory);
      if (!client) {
        throw new VmtapeError(
          "tape-busy",
          `the recording of tape '${name}' cannot be reached: it may belong to another user or runtime directory`,
        );
      }
      await client.stop();
      const done = await Tape.open(places, name, options.dir);
      if (options.json) return say(toJson(tapeJson(done, undefined)));
      sayFacts(tapeFacts(done));
    }),
  );
}
