import { stat } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { placesOf, several } from "../shell/options.js";
import { action } from "../shell/run.js";
import type { LogFlags, LogPlace } from "./print-log.js";

export function logCommand(): Command {
  return new Command("log")
    .description("print a replay log: every event with its icount, or counts by kind")
    .argument("<name|file>", "a tape, or a log file")
    .option("--summary", "counts and bytes by kind")
    .option("--from <position>", "begin at: start, @ICOUNT", position)
    .option("--to <position>", "end at: end, @ICOUNT (inclusive)", position)
    .option(
      "--kind <kind>",
      "only events of this kind, as --summary names them; several times for several",
      several,
    )
    .option("--home <directory>", "where tapes live")
    .option("-s, --dir <directory>", "the tape's directory, when it is not in the home")
    .option("--json", "one JSON object a line")
    .action(
      action(async ({ signal }, target: string, options: LogFlags) => {
        const { printLog } = await import("./print-log.js");
        await printLog(await locate(target, options), options, signal);
      }),
    );
}

async function locate(target: string, options: LogFlags): Promise<LogPlace> {
  const [{ Tape }, { dialectFor }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../formats/replay-log-dialect.js"),
  ]);
  try {
    const tape = await Tape.open(placesOf(options), target, options.dir);
    const dialect = dialectFor(tape.manifest.qemu.version);
    return { path: tape.layout.log, dialect, unfinished: tape.state !== "complete" };
  } catch (error) {
    if (!(error instanceof VmtapeError) || (error.code !== "no-such-tape" && error.code !== "bad-name"))
      throw error;
    const isFile = await stat(target).then(
      (facts) => !facts.isDirectory(),
      () => false,
    );
    if (!isFile) throw error;
    return { path: target, unfinished: false };
  }
}

/** Reads `start`, `end` or `@ICOUNT`, the positions that a log can find. */
function position(text: string): bigint {
  if (text === "start") return 0n;
  if (text === "end") return BigInt(Number.MAX_SAFE_INTEGER);
  const match = /^@?(\d{1,15})$/.exec(text);
  if (!match) throw new InvalidArgumentError("a log knows the positions start, end and @ICOUNT.");
  return BigInt(match[1]!);
}
