import { Command } from "commander";
import { taskOption } from "../open/load-history.js";
import { several } from "../shell/options.js";
import { action } from "../shell/run.js";
import type { CallsFlags, DumpFlags, ExtractFlags, InfoFlags } from "./flags.js";

/** `vmtape branches`: work on branch logs and on 24-byte BTS files. */
export function branchesCommand(): Command {
  const command = new Command("branches").description(
    "work on branch logs (vmtape trace) and on 24-byte BTS files: info, dump, extract, calls",
  );
  for (const child of [infoCommand(), dumpCommand(), extractCommand(), callsCommand()]) {
    command.addCommand(child);
  }
  return command;
}

function infoCommand(): Command {
  return new Command("info")
    .description("say what a file of branches is, and check all of it")
    .argument("<file>", "a branch log or a BTS file")
    .option("--quick", "do not read and check every chunk")
    .option("--tape <name>", "refuse the log of another tape")
    .option("--home <directory>", "where tapes live")
    .option("--json", "print facts as JSON")
    .action(
      action(async (context, file: string, flags: InfoFlags) => {
        const { showInfo } = await import("./info.js");
        await showInfo(context, file, flags);
      }),
    );
}

function dumpCommand(): Command {
  const command = new Command("dump")
    .description("print branches, one a line: brctr (or index) and addresses")
    .argument("<file...>", "branch logs or BTS files")
    .option("-S, --names", "with symbols, inlined functions too: 0x… <inlined+M @ outer+N>")
    .option("-G, --gdb", "with symbols as GDB prints them: 0x… <name+offset>")
    .option("-x, --extended", "brctr in twelve digits for any file, and kind and icount where known")
    .option("--from <position>", "begin at a brctr (any C base) or @ICOUNT")
    .option("--to <position>", "end at a brctr, inclusive, or @ICOUNT")
    .option(...taskOption)
    .option("--json", "one JSON object a line");
  return nameOptions(command).action(
    action(async (context, files: string[], flags: DumpFlags) => {
      const { dumpBranches } = await import("./dump.js");
      await dumpBranches(context, files, flags);
    }),
  );
}

function extractCommand(): Command {
  return new Command("extract")
    .description("copy a range of branches into a file of its own, in any of the formats")
    .argument("<file>", "a branch log or a BTS file")
    .option("-S, --start <brctr[:radius]>", "begin so far before this brctr (any C base: 12, 0x1f, 017)")
    .option("-E, --end <brctr[:radius]>", "end so far behind this brctr, inclusive")
    .option("-o, --output <file>", "where to (default: stdout, when it is no terminal)")
    .option("--bts", "write 24-byte BTS records")
    .option("-x, --extended", "write extended BTS: with the brctr of each record")
    .option("--json", "print facts as JSON (with -o)")
    .action(
      action(async (context, file: string, flags: ExtractFlags) => {
        const { extractRange } = await import("./extract.js");
        await extractRange(context, file, flags);
      }),
    );
}

function callsCommand(): Command {
  const command = new Command("calls")
    .description("print calls and returns as an indented tree with brctr; ? marks what had to be guessed")
    .argument("<file>", "a branch log or a BTS file")
    .option("--from <position>", "begin at a brctr (any C base) or @ICOUNT")
    .option("--to <position>", "end at a brctr, inclusive, or @ICOUNT")
    .option("--depth <levels>", "leave out what lies deeper")
    .option(...taskOption)
    .option("--json", "one JSON object a line");
  return nameOptions(command).action(
    action(async (context, file: string, flags: CallsFlags) => {
      const { printCalls } = await import("./calls.js");
      await printCalls(context, file, flags);
    }),
  );
}

function nameOptions(command: Command): Command {
  return command
    .option("--tape <name>", "take names from this tape (default: the tape of the log, if it is in the home)")
    .option(
      "--symbols <file[,options]>",
      "names from a file; prefix=, range=, bias=, debug=; several times",
      several,
    )
    .option("-U, --user <program>", "names of a user program, shown as User:name; several times", several)
    .option("--home <directory>", "where tapes live")
    .option("-s, --dir <directory>", "the tape's directory, when it is not in the home")
    .option("--qemu <program>", "the QEMU program, should the tape's names need one");
}
