import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { untilAborted } from "../../base/stopping.js";
import type { GdbServer } from "../../gdb/server.js";
import type { Tape } from "../../tape/tape.js";
import { placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, sayFacts, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface GdbFlags extends TapeOptions {
  readonly at: string;
  readonly listen?: string;
  readonly run?: boolean;
  readonly gdb: string;
  readonly branches?: string;
  readonly films: number;
}

/** QEMU's usual address for gdb; used when it is free. */
const usualPort = "127.0.0.1:1234";
const anyPort = "127.0.0.1:0";

export function gdbCommand(): Command {
  return tapeCommand("gdb", "serve a tape to a debugger, which then runs forwards and backwards")
    .argument("[arguments...]", "after --: for gdb, which is then started")
    .option("--at <position>", "where to begin (start, end, @ICOUNT, SYMBOL[:BRCTR] …)", "start")
    .option("--listen <address>", `unix:PATH or HOST:PORT, of this machine alone (default: ${usualPort})`)
    .option("--run", "start gdb, with the tape's symbols")
    .option("--gdb <program>", "the gdb to start", "gdb")
    .option(
      "--branches <file>",
      "the tape's branch log, to run back by (default: NAME.branches, where it is)",
    )
    .option(
      "--films <MiB>",
      "memory for the past near an instant, which steps back go through; 0: none",
      mebibytes,
      256,
    )
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

function mebibytes(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_536) {
    throw new InvalidArgumentError("it must be a whole number of MiB, 0 to 65536.");
  }
  return value;
}

async function run(
  context: CommandContext,
  name: string,
  args: readonly string[],
  flags: GdbFlags,
): Promise<void> {
  const [{ GdbServer }, { TapeDesk }, { openTape }] = await Promise.all([
    import("../../gdb/server.js"),
    import("../../gdb/tape-desk.js"),
    import("../open/open-tape.js"),
  ]);
  const { signal } = context;
  const starts = flags.run === true || args.length > 0;
  if (starts && flags.listen !== undefined) {
    throw new VmtapeError(
      "usage",
      "--listen is for debuggers that attach; the gdb that --run or -- starts needs none",
    );
  }
  using progress = new Progress();
  await using open = await openTape(name, flags, progress, signal, flags.at, {
    branches: { file: flags.branches },
    filmBytes: flags.films * 2 ** 20,
  });
  const desk = new TapeDesk(open, starts);
  progress.silence();
  if (starts) {
    const { runGdb } = await import("./run-gdb.js");
    await runGdb(context, { open, desk, places: placesOf(flags), program: flags.gdb, args });
    return;
  }
  await using server = await listen(GdbServer, flags.listen, {
    target: open.timeline,
    desk,
    onRefusedWrite: note,
  });
  sayWhere(open.tape, server, desk.describe(open.timeline.position), flags);
  await untilAborted(signal);
}

async function listen(
  Server: typeof GdbServer,
  wanted: string | undefined,
  options: Parameters<typeof GdbServer.listen>[1],
): Promise<GdbServer> {
  const [{ parseListenAddress }, { isVmtapeError }] = await Promise.all([
    import("../../gdb/listen-address.js"),
    import("../../base/errors.js"),
  ]);
  try {
    return await Server.listen(parseListenAddress(wanted ?? usualPort), options);
  } catch (error) {
    if (wanted !== undefined || !isVmtapeError(error, "usage")) throw error;
    return Server.listen(parseListenAddress(anyPort), options);
  }
}

function sayWhere(tape: Tape, { attachTo }: GdbServer, position: string, flags: GdbFlags): void {
  if (flags.json) {
    say(toJson({ name: tape.name, listen: attachTo, position }));
    return;
  }
  const isPath = attachTo.startsWith("/");
  sayFacts({
    tape: tape.name,
    position,
    gdb: `target remote ${attachTo}`,
    lldb: isPath ? `process connect unix-connect://${attachTo}` : `gdb-remote ${attachTo}`,
  });
  note("Ctrl-C ends the server; a debugger may detach and attach again");
}
