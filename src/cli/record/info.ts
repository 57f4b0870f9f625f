import type { Command } from "commander";
import { isVmtapeError } from "../../base/errors.js";
import type { Tape } from "../../tape/tape.js";
import { placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { say, sayFacts, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { tapeFacts, tapeJson } from "./describe-tape.js";

export function infoCommand(): Command {
  return tapeCommand("info", "say what a tape is, and how a plain QEMU replays it")
    .option(...qemuOption)
    .action(
      action(async (_context, name: string, options: TapeOptions) => {
        const { Tape } = await import("../../tape/tape.js");
        const tape = await Tape.open(placesOf(options), name, options.dir);
        const command = await plainCommand(tape, options);
        if (options.json) return say(toJson(tapeJson(tape, command)));
        sayFacts({ ...tapeFacts(tape), replay: command && shellWords(command) });
        if (tape.state === "interrupted") {
          say();
          say(`Its recorder was killed. Make it replay: vmtape repair ${name}`);
        }
      }),
    );
}

async function plainCommand(tape: Tape, options: TapeOptions): Promise<string[] | undefined> {
  if (tape.state !== "complete") return undefined;
  const { plainReplayCommand } = await import("../../replay/session/plain-command.js");
  try {
    return await plainReplayCommand(tape, qemuCandidates(options));
  } catch (error) {
    if (isVmtapeError(error, "wrong-qemu") || isVmtapeError(error, "missing-tool")) return undefined;
    throw error;
  }
}

/** Words quoted for a POSIX shell. */
function shellWords(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}
