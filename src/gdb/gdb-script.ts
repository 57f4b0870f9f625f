/** A symbol file and what to add to its addresses. */
export interface ScriptFile {
  readonly path: string;
  readonly bias: bigint;
}

export interface ScriptFacts {
  readonly attachTo: string;
  /** The first is the one that GDB takes for its program. */
  readonly files: readonly ScriptFile[];
}

/**
 * While a place is looked for, GDB reads code from the files: the end of a prologue is found also where the machine has not
 * loaded the code yet. At any other time memory alone is read, since kernels patch their code.
 */
const placing = ["break", "tbreak", "hbreak", "thbreak", "until", "advance", "dprintf"];
/** What may follow a command above that failed, behind which GDB runs no hook. */
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

/** Seconds for an answer that moves nothing: a QEMU that died may have to be replaced first. */
const patience = 30;

/**
 * Commands for a gdb that is started for a tape: its symbols, the connection, and `goto`, after which gdb looks again.
 * `confirm` is put back, so that what the user does is asked for as ever.
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

/** A file name as one word of a command. */
function quoted(path: string): string {
  return `"${path.replace(/["\\]/g, "\\$&")}"`;
}
