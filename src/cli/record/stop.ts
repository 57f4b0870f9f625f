import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { VmtapeError } from "../../base/errors.js";
import type { Tape } from "../../tape/tape.js";
import { placesOf, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, sayFacts, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { tapeFacts, tapeJson } from "./describe-tape.js";

const patienceMs = 3000;

/** Opens the tape when its recorder has released it, or after some seconds. */
async function whenEnded(open: () => Promise<Tape>): Promise<Tape> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const tape = await open();
    if (tape.state !== "recording" || performance.now() > deadline) return tape;
    await delay(50);
  }
}

export function stopCommand(): Command {
  return tapeCommand("stop", "end a running recording; its tape replays to that point").action(
    action(async (_context, name: string, options: TapeOptions) => {
      const [{ Tape }, { ControlClient }] = await Promise.all([
        import("../../tape/tape.js"),
        import("../../tape/control.js"),
      ]);
      const places = placesOf(options);
      const open = () => Tape.open(places, name, options.dir);
      const tape = await open();
      if (tape.state === "interrupted") {
        throw new VmtapeError("tape-idle", `tape '${name}' is not being recorded (it is interrupted)`, {
          mend: `vmtape repair ${name}`,
        });
      }
      // The recording may end by itself at any moment. Then there is no answer, or not all of one, and the tape's
      // state tells how it ended.
      const isOver = tape.state === "complete";
      const client = isOver ? undefined : await ControlClient.connect(places, tape.directory);
      const failure = await client?.stop().catch((error: unknown) => error);
      const done = isOver ? tape : await whenEnded(open);
      if (done.state === "recording") {
        throw new VmtapeError(
          "tape-busy",
          `the recording of tape '${name}' cannot be reached: it may belong to another user or runtime directory`,
        );
      }
      if (failure && done.state !== "complete") throw failure;
      done.requireComplete();
      if (!client || failure) note(`tape '${name}' is not being recorded any more: it has ended`);
      if (options.json) return say(toJson(tapeJson(done, undefined)));
      sayFacts(tapeFacts(done));
    }),
  );
}
