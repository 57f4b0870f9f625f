#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command } from "commander";
import { commands } from "./commands.js";
import { runProgram } from "./shell/run.js";

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

// What a list of all commands says is known without them; who looks into all of them are shells' completions.
const typed = process.argv[2] === "help" ? process.argv[3] : process.argv[2];
const usages = new Map(commands.map(({ name, usage }) => [name, usage]));
for (const { name, summary, load } of commands) {
  const isWanted = typed === name || typed === "completion";
  program.addCommand(isWanted ? await load() : new Command(name).description(summary));
}
program.configureHelp({
  subcommandTerm: (command) => `${command.name()} ${usages.get(command.name()) ?? "[command]"}`.trimEnd(),
});

await runProgram(program, process.argv);
