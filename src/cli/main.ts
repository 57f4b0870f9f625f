#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command } from "commander";
import { atCommand } from "./at/at.js";
import { gdbCommand } from "./at/gdb.js";
import { stepsCommand } from "./at/steps.js";
import { branchesCommand } from "./branches/branches.js";
import { traceCommand } from "./branches/trace.js";
import { dmesgCommand } from "./guest/dmesg.js";
import { filesCommand } from "./guest/files.js";
import { mapsCommand } from "./guest/maps.js";
import { modulesCommand } from "./guest/modules.js";
import { probeCommand } from "./guest/probe.js";
import { psCommand } from "./guest/ps.js";
import { straceCommand } from "./guest/strace.js";
import { tasksCommand } from "./guest/tasks.js";
import { attachCommand } from "./record/attach.js";
import { demoCommand } from "./record/demo.js";
import { destroyCommand } from "./record/destroy.js";
import { doctorCommand } from "./record/doctor.js";
import { guestCommand } from "./record/guest.js";
import { infoCommand } from "./record/info.js";
import { listCommand } from "./record/list.js";
import { recordCommand } from "./record/record.js";
import { repairCommand } from "./record/repair.js";
import { stopCommand } from "./record/stop.js";
import { consoleCommand } from "./replay/console.js";
import { indexCommand } from "./replay/index-tape.js";
import { logCommand } from "./replay/log.js";
import { replayCommand } from "./replay/replay.js";
import { verifyCommand } from "./replay/verify.js";
import { completionCommand } from "./shell/completion.js";
import { runProgram } from "./shell/run.js";
import { coverageCommand } from "./views/coverage.js";
import { levelsCommand } from "./views/levels.js";
import { profileCommand } from "./views/profile.js";

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
  stepsCommand(),
  traceCommand(),
  branchesCommand(),
  gdbCommand(),
  psCommand(),
  tasksCommand(),
  probeCommand(),
  straceCommand(),
  profileCommand(),
  coverageCommand(),
  levelsCommand(),
  mapsCommand(),
  filesCommand(),
  modulesCommand(),
  dmesgCommand(),
  completionCommand(),
]) {
  program.addCommand(command);
}

await runProgram(program, process.argv);
