#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command } from "commander";
import { atCommand } from "./at.js";
import { attachCommand } from "./attach.js";
import { branchesCommand } from "./branches.js";
import { consoleCommand } from "./console.js";
import { demoCommand } from "./demo.js";
import { destroyCommand } from "./destroy.js";
import { dmesgCommand } from "./dmesg.js";
import { doctorCommand } from "./doctor.js";
import { filesCommand } from "./files.js";
import { gdbCommand } from "./gdb.js";
import { guestCommand } from "./guest.js";
import { indexCommand } from "./index-tape.js";
import { infoCommand } from "./info.js";
import { listCommand } from "./list.js";
import { logCommand } from "./log.js";
import { mapsCommand } from "./maps.js";
import { modulesCommand } from "./modules.js";
import { probeCommand } from "./probe.js";
import { psCommand } from "./ps.js";
import { recordCommand } from "./record.js";
import { repairCommand } from "./repair.js";
import { replayCommand } from "./replay.js";
import { runProgram } from "./run.js";
import { stopCommand } from "./stop.js";
import { straceCommand } from "./strace.js";
import { tasksCommand } from "./tasks.js";
import { traceCommand } from "./trace.js";
import { verifyCommand } from "./verify.js";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

const program = new Command("vmtape")
  .description(
    "A tape recorder for whole machines: record a Linux VM, replay it bit for bit, go to any instant.",
  )
  .version(version)
  .showHelpAfterError("(vmtape COMMAND --help explains a command)")
  .helpCommand("help [command]", "explain a command")
  .addHelpText(
    "after",
    `
Exit codes: 0 done · 1 the answer is no (diverged, not found) · 2 wrong usage or input
            3 this machine lacks something · 130 interrupted`,
  );

for (const command of [
  doctorCommand(),
  demoCommand(),
  guestCommand(),
  recordCommand(),
  attachCommand(),
  stopCommand(),
  destroyCommand(),
  listCommand(),
  infoCommand(),
  replayCommand(),
  consoleCommand(),
  verifyCommand(),
  repairCommand(),
  logCommand(),
  indexCommand(),
  atCommand(),
  traceCommand(),
  branchesCommand(),
  gdbCommand(),
  psCommand(),
  tasksCommand(),
  probeCommand(),
  straceCommand(),
  mapsCommand(),
  filesCommand(),
  modulesCommand(),
  dmesgCommand(),
]) {
  program.addCommand(command);
}

await runProgram(program, process.argv);
