import { type Command, CommanderError } from "commander";
import { isVmtapeError } from "../../base/errors.js";
import { exitCodes, jsonWanted, reportFailure, sayJsonError } from "./failure.js";

/** What every command's action gets. */
export interface CommandContext {
  /** Fires on Ctrl-C, SIGTERM, and when the terminal is closed. */
  readonly signal: AbortSignal;
}

const interruptSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** 128 + SIGPIPE, as in shells. */
const brokenPipeExitCode = 141;
const interrupt = new AbortController();
let outputGone = false;
/** How many child programs have the terminal now; Ctrl-C is for them. */
let interruptsElsewhere = 0;

/** Parses the command line, runs the command, and sets the exit code. Errors are printed only here. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  for (const signal of interruptSignals) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || interruptsElsewhere === 0) interrupt.abort();
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      outputGone = true;
      interrupt.abort();
    });
  }
  overrideExit(program);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    // The reader of the output has left. Nothing failed, and no error is printed.
    if (outputGone && isVmtapeError(error, "cancelled")) process.exitCode = brokenPipeExitCode;
    else process.exitCode = error instanceof CommanderError ? reportUsage(error) : reportFailure(error);
  }
  if (outputGone && !process.exitCode) process.exitCode = brokenPipeExitCode;
}

/** Wraps a command's action, which gets the context before its own arguments. */
export function action<Args extends unknown[]>(
  body: (context: CommandContext, ...args: Args) => Promise<void>,
): (...args: Args) => Promise<void> {
  return (...args) => body({ signal: interrupt.signal }, ...args);
}

/** Leaves Ctrl-C to a child program on the same terminal, until disposed. */
export function leaveInterrupts(): Disposable {
  interruptsElsewhere++;
  return {
    [Symbol.dispose]() {
      interruptsElsewhere--;
    },
  };
}

function overrideExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) overrideExit(child);
}

/**
 * Handles an error of the command line. Commander has printed it on stderr already; with `--json` it is printed as
 * JSON, too.
 */
function reportUsage(error: CommanderError): number {
  if (error.exitCode === 0) return 0; // help, or the version
  if (jsonWanted()) sayJsonError({ code: "usage", message: error.message.replace(/^error: /, "") });
  return exitCodes.input;
}
