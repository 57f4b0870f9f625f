import { type Command, CommanderError } from "commander";
import { isVmtapeError } from "../../base/errors.js";
import { exitCodes, jsonWanted, reportFailure, sayJsonError } from "./failure.js";

/** What every command is given. */
export interface CommandContext {
  /** Fires on Ctrl-C, SIGTERM, and when the terminal is closed. */
  readonly signal: AbortSignal;
}

const interruptSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** 128 + SIGPIPE, as a shell would say. */
const brokenPipeExitCode = 141;
const interrupt = new AbortController();
let outputGone = false;
/** While a program that we started has the terminal, Ctrl-C is for it. */
let interruptsElsewhere = 0;

/** Parses the command line, runs the command, and sets the exit code. The one place where errors are printed. */
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
    // Whoever read what we print has enough: nothing went wrong, and there is nobody to tell.
    if (outputGone && isVmtapeError(error, "cancelled")) process.exitCode = brokenPipeExitCode;
    else process.exitCode = error instanceof CommanderError ? reportUsage(error) : reportFailure(error);
  }
  if (outputGone && !process.exitCode) process.exitCode = brokenPipeExitCode;
}

/** Wraps a command's action: it gets the context after its own arguments. */
export function action<Args extends unknown[]>(
  body: (context: CommandContext, ...args: Args) => Promise<void>,
): (...args: Args) => Promise<void> {
  return (...args) => body({ signal: interrupt.signal }, ...args);
}

/** Leaves Ctrl-C to a child with the same terminal, until disposed. */
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

/** Commander has said it on stderr already; a program that asked for JSON is told in its own words. */
function reportUsage(error: CommanderError): number {
  if (error.exitCode === 0) return 0; // help, or the version
  if (jsonWanted()) sayJsonError({ code: "usage", message: error.message.replace(/^error: /, "") });
  return exitCodes.input;
}
