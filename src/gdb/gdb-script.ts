/** A symbol file and what to add to its addresses. */
export interface ScriptFile {
  readonly path: string;
  readonly bias: bigint;
}

export interface ScriptFacts {
  readonly attachTo: string;
  /** GDB takes the first one for its program. */
  readonly files: readonly ScriptFile[];
}

/**
 * Commands during which GDB reads code from the symbol files, so that it finds the end of a prologue also where the
 * machine has not loaded the code yet. At all other times it reads only memory, since kernels patch their code.
 */
const placing = ["break", "tbreak", "hbreak", "thbreak", "until", "advance", "dprintf"];
/**
 * Commands that may follow one of the above. After one that failed, GDB does not run its hookpost, so the hooks of
 * these end reading from files, too.
 */
const looking = [
  "x",
  "print",
  "output",
  "printf",
  "display",
  "disassemble",
  "info",
  "backtrace",
  "find",
  "dump",
];
const fromFiles = "set trust-readonly-sections";

function readingHooks(): string {
  const hook = (name: string, state: string) => `define ${name}\n  ${fromFiles} ${state}\nend`;
  return [
    ...placing.flatMap((name) => [hook(`hook-${name}`, "on"), hook(`hookpost-${name}`, "off")]),
    ...[...looking, "stop"].map((name) => hook(`hook-${name}`, "off")),
  ].join("\n");
}

/** GDB's timeout in seconds for answers to all but runs: a QEMU that died may have to be replaced first. */
const patience = 30;

/**
 * The commands for a gdb that vmtape starts for a tape: they load symbols, define commands such as `goto`, make gdb
 * read the machine anew after monitor commands, and connect. `confirm` is set back before that, so that gdb asks the
 * user as usual.
 */
export function gdbScript({ attachTo, files }: ScriptFacts): string {
  const [program, ...others] = files;
  const lines = ["set confirm off", "set architecture i386:x86-64", `set remotetimeout ${patience}`];
  if (program) {
    lines.push(
      program.bias === 0n
        ? `file ${quoted(program.path)}`
        : `symbol-file -o ${program.bias} ${quoted(program.path)}`,
    );
  }
  for (const { path, bias } of others) lines.push(`add-symbol-file ${quoted(path)} -o ${bias}`);
  return `${lines.join("\n")}
define info auxv
  monitor auxv
end
document info auxv
Show the auxiliary vector of the process that runs at this instant. (GDB's own command shows what it read first.)
end
${readingHooks()}
set confirm on
define hookpost-monitor
  maintenance flush register-cache
  maintenance flush dcache
end
define goto
  monitor goto $arg0
  frame
end
document goto
Go to a position of the tape: start, end, @ICOUNT, SYMBOL[:BRCTR], 0xADDR[:BRCTR[/REP]] or a mark.
end
define where-in-time
  monitor where
end
document where-in-time
Show the position in the tape.
end
target remote ${attachTo}
`;
}

/** A file name quoted as one word of a command. */
function quoted(path: string): string {
  return `"${path.replace(/["\\]/g, "\\$&")}"`;
}
