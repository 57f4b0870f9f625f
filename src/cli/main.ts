#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command } from "commander";
import { runProgram } from "./shell/run.js";

/** The commands in the order of `--help`. Loading one takes a hundredth of a second, all of them a tenth. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  doctor: async () => (await import("./record/doctor.js")).doctorCommand(),
  demo: async () => (await import("./record/demo.js")).demoCommand(),
  guest: async () => (await import("./record/guest.js")).guestCommand(),
  record: async () => (await import("./record/record.js")).recordCommand(),
  attach: async () => (await import("./record/attach.js")).attachCommand(),
  stop: async () => (await import("./record/stop.js")).stopCommand(),
  destroy: async () => (await import("./record/destroy.js")).destroyCommand(),
  list: async () => (await import("./record/list.js")).listCommand(),
  info: async () => (await import("./record/info.js")).infoCommand(),
  replay: async () => (await import("./replay/replay.js")).replayCommand(),
  console: async () => (await import("./replay/console.js")).consoleCommand(),
  verify: async () => (await import("./replay/verify.js")).verifyCommand(),
  repair: async () => (await import("./record/repair.js")).repairCommand(),
  log: async () => (await import("./replay/log.js")).logCommand(),
  index: async () => (await import("./replay/index-tape.js")).indexCommand(),
  at: async () => (await import("./at/at.js")).atCommand(),
  steps: async () => (await import("./at/steps.js")).stepsCommand(),
  trace: async () => (await import("./branches/trace.js")).traceCommand(),
  branches: async () => (await import("./branches/branches.js")).branchesCommand(),
  gdb: async () => (await import("./at/gdb.js")).gdbCommand(),
  ps: async () => (await import("./guest/ps.js")).psCommand(),
  tasks: async () => (await import("./guest/tasks.js")).tasksCommand(),
  probe: async () => (await import("./guest/probe.js")).probeCommand(),
  strace: async () => (await import("./guest/strace.js")).straceCommand(),
  profile: async () => (await import("./views/profile.js")).profileCommand(),
  coverage: async () => (await import("./views/coverage.js")).coverageCommand(),
  levels: async () => (await import("./views/levels.js")).levelsCommand(),
  maps: async () => (await import("./guest/maps.js")).mapsCommand(),
  files: async () => (await import("./guest/files.js")).filesCommand(),
  modules: async () => (await import("./guest/modules.js")).modulesCommand(),
  dmesg: async () => (await import("./guest/dmesg.js")).dmesgCommand(),
  completion: async () => (await import("./shell/completion.js")).completionCommand(),
};

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

// Whoever names a command first is given that alone; help, completions and mistakes see all.
const named = process.argv[2];
const alone = named !== undefined && named !== "completion" && Object.hasOwn(commands, named);
for (const load of alone ? [commands[named]!] : Object.values(commands)) program.addCommand(await load());

await runProgram(program, process.argv);
