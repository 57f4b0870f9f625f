import type { Command, Option } from "commander";

/** An option, for the shell's completion. */
export interface OptionWords {
  /** `-o`, `--output`: as they are typed. */
  readonly names: readonly string[];
  readonly description: string;
  /** Its argument: none, a file or directory, or something that a shell cannot complete. */
  readonly value: "none" | "file" | "other";
}

/** A command, for the shell's completion. */
export interface CommandWords {
  /** Its words, such as `branches dump`; empty for the program itself. */
  readonly path: string;
  readonly description: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  /** The values of its first argument, if there are only a few. */
  readonly choices: readonly string[];
  readonly options: readonly OptionWords[];
  /** The kind of its first argument. */
  readonly first: "tape" | "file" | "other";
}

/** The program and all its commands, from commander's own tree, so that they are never out of date. */
export function commandWords(program: Command): CommandWords[] {
  const walk = (command: Command, path: string): CommandWords[] => {
    const visible = command.createHelp().visibleCommands(command);
    const inside = visible.filter((one) => one.name() !== "help");
    const words: CommandWords = {
      path,
      description: command.description(),
      commands: visible.map((one) => ({ name: one.name(), description: firstLine(one.description()) })),
      choices: command.registeredArguments[0]?.argChoices ?? [],
      options: command.createHelp().visibleOptions(command).map(optionWords),
      first: firstArgument(command),
    };
    return [words, ...inside.flatMap((one) => walk(one, path === "" ? one.name() : `${path} ${one.name()}`))];
  };
  return walk(program, "");
}

function optionWords(option: Option): OptionWords {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  const value = !(option.required || option.optional) ? "none" : isFile(option.flags) ? "file" : "other";
  return { names, description: firstLine(option.description), value };
}

/** Does a placeholder stand for something in the file system? */
function isFile(flags: string): boolean {
  return /<[^>]*(file|directory|dir|path|program|image|vmlinu[xz]|kernel|initrd|src)[^>]*>/i.test(flags);
}

function firstArgument(command: Command): CommandWords["first"] {
  const [first] = command.registeredArguments;
  if (first === undefined) return "other";
  if (first.name() === "name") return command.name() === "record" ? "other" : "tape";
  return /file|log|output/i.test(first.name()) ? "file" : "other";
}

function firstLine(text: string): string {
  return text.split("\n")[0]!;
}
