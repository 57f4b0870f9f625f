import { Argument, Command } from "commander";
import { type CommandWords, commandWords } from "./command-words.js";
import { say } from "./output.js";
import { action } from "./run.js";

const shells = ["bash", "zsh", "fish"] as const;
const scripts = { bash, zsh, fish } as const;

export function completionCommand(): Command {
  const command = new Command("completion");
  return command
    .description("print a shell's completion script: commands, options, names of tapes, files")
    .addArgument(new Argument("<shell>", "the shell").choices(shells))
    .addHelpText(
      "after",
      `
bash   vmtape completion bash > ~/.local/share/bash-completion/completions/vmtape
zsh    vmtape completion zsh > ~/.zfunc/_vmtape   (a directory of $fpath)
fish   vmtape completion fish > ~/.config/fish/completions/vmtape.fish`,
    )
    .action(
      action(async (_context, shell: (typeof shells)[number]) => {
        const words = commandWords(command.parent!);
        for (const line of scripts[shell](words).split("\n")) say(line);
      }),
    );
}

/**
 * A command that lists the tapes, for all shells of the Bourne family. It ignores `--home`, which the user may type
 * later.
 */
const tapes = `command ls "\${VMTAPE_HOME:-\${XDG_DATA_HOME:-$HOME/.local/share}/vmtape}" 2>/dev/null`;

/** Finds the command that the typed words name (`$at`), and the number of arguments so far (`$count`). */
const follow = (words: readonly CommandWords[], each: string) => `  local at="" count=0 skip="" word
  for word in ${each}; do
    if [[ -n $skip ]]; then skip=""; continue; fi
    case "$at $word" in
${words.flatMap(({ path, options }) => valued(options).map((name) => `      "${path} ${name}") skip=1; continue ;;`)).join("\n")}
    esac
    case "$word" in -*) continue ;; esac
    case "$at $word" in
${words
  .filter(({ path }) => path !== "")
  .map(({ path }) => `      "${parentOf(path)} ${lastOf(path)}") at="${path}" ;;`)
  .join("\n")}
      *) count=$((count + 1)) ;;
    esac
  done`;

/** What can be completed there. */
const offers = (
  words: readonly CommandWords[],
) => `  local commands="" choices="" options="" files="" values="" first=""
  case "$at" in
${words
  .map(
    ({ path, commands, choices, options, first }) =>
      `    "${path}") commands="${commands.map(({ name }) => name).join(" ")}" choices="${choices.join(" ")}" options="${options.flatMap(({ names }) => names).join(" ")}" files="${ofKind(options, "file")}" values="${ofKind(options, "other")}" first="${first}" ;;`,
  )
  .join("\n")}
  esac`;

const valued = (options: CommandWords["options"]) =>
  options.filter(({ value }) => value !== "none").flatMap(({ names }) => names);
const ofKind = (options: CommandWords["options"], kind: "file" | "other") =>
  options
    .filter(({ value }) => value === kind)
    .flatMap(({ names }) => names)
    .join(" ");
const parentOf = (path: string) => path.split(" ").slice(0, -1).join(" ");
const lastOf = (path: string) => path.split(" ").at(-1)!;

function bash(words: readonly CommandWords[]): string {
  return `# bash completion for vmtape; made by: vmtape completion bash
_vmtape() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
${follow(words, `"\${COMP_WORDS[@]:1:COMP_CWORD-1}"`)}
${offers(words)}
  COMPREPLY=()
  if [[ $COMP_CWORD -gt 1 && " $files " == *" $previous "* ]]; then
    compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ $COMP_CWORD -gt 1 && " $values " == *" $previous "* ]]; then
    :
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  elif [[ -n $choices && $count == 0 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
  elif [[ $first == tape && $count == 0 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(${tapes})" -- "$current")
  elif [[ $first == file && $count == 0 ]]; then
    compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _vmtape vmtape`;
}

function zsh(words: readonly CommandWords[]): string {
  return `#compdef vmtape
# zsh completion for vmtape; made by: vmtape completion zsh
_vmtape() {
  setopt localoptions shwordsplit
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}"
${follow(words, `"\${(@)words[2,CURRENT-1]}"`)}
${offers(words)}
  if (( CURRENT > 2 )) && [[ " $files " == *" $previous "* ]]; then
    _files
  elif (( CURRENT > 2 )) && [[ " $values " == *" $previous "* ]]; then
    :
  elif [[ $current == -* ]]; then
    compadd -- $options
  elif [[ -n $commands ]]; then
    compadd -- $commands
  elif [[ -n $choices && $count == 0 ]]; then
    compadd -- $choices
  elif [[ $first == tape && $count == 0 ]]; then
    compadd -- $(${tapes})
  elif [[ $first == file && $count == 0 ]]; then
    _files
  fi
}
if [[ $funcstack[1] == _vmtape ]]; then _vmtape "$@"; else compdef _vmtape vmtape; fi`;
}

function fish(words: readonly CommandWords[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const lines = words.flatMap(({ path, commands, choices, options, first }) => {
    const here = `-n ${quote(`__vmtape_at ${quote(path)}`)}`;
    return [
      ...commands.map(
        ({ name, description }) => `complete -c vmtape -f ${here} -a ${name} -d ${quote(description)}`,
      ),
      ...options.map(({ names, description, value }) => {
        const typed = names.map((name) =>
          name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
        );
        const after = value === "none" ? "" : value === "file" ? " -r -F" : " -x";
        return `complete -c vmtape${value === "file" ? "" : " -f"} ${here} ${typed.join(" ")}${after} -d ${quote(description)}`;
      }),
      ...choices.map((choice) => `complete -c vmtape -f ${here} -a ${choice}`),
      ...(first === "tape" ? [`complete -c vmtape -f ${here} -a '(__vmtape_tapes)' -d tape`] : []),
      ...(first === "file" ? [`complete -c vmtape -F ${here}`] : []),
    ];
  });
  return `# fish completion for vmtape; made by: vmtape completion fish
function __vmtape_tapes
  set -l home $VMTAPE_HOME
  if test -z "$home"
    set home $HOME/.local/share/vmtape
    test -n "$XDG_DATA_HOME"; and set home $XDG_DATA_HOME/vmtape
  end
  command ls $home 2>/dev/null
end
# Do the words so far lead to this command?
function __vmtape_at
  set -l path
  for word in (commandline -opc)[2..-1]
    if contains -- (string join ' ' -- $path $word) ${words
      .filter(({ path }) => path !== "")
      .map(({ path }) => quote(path))
      .join(" ")}
      set -a path $word
    end
  end
  set -l joined (string join ' ' -- $path)
  test "$joined" = "$argv[1]"
end
complete -c vmtape -f
${lines.join("\n")}`;
}
