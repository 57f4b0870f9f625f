import { Command, InvalidArgumentError } from "commander";
import type { ProgressSink } from "../../base/progress.js";
import type { RunContext } from "../../base/run-context.js";
import { type Places, placesFrom } from "../../tape/home.js";
import { note } from "./output.js";

/** Options that many commands share. */
export interface TapeOptions {
  readonly home?: string;
  readonly dir?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
  readonly qemu?: string;
}

/** Makes a command on one tape: with NAME, `--home`, `-s/--dir`, `--json`. */
export function tapeCommand(name: string, description: string): Command {
  return homeCommand(name, description)
    .argument("<name>", "the tape")
    .option("-s, --dir <directory>", "the tape's directory, when it is not in the home");
}

/** Makes a command that works on the home. */
export function homeCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--home <directory>", "where tapes live (default: $VMTAPE_HOME or ~/.local/share/vmtape)")
    .option("--json", "print facts as JSON");
}

/** The option that names another QEMU program than the distribution's. */
export const qemuOption = [
  "--qemu <program>",
  "the QEMU program (default: $VMTAPE_QEMU or qemu-system-x86_64)",
] as const;

export function placesOf(options: TapeOptions): Places {
  return placesFrom(options.home === undefined ? process.env : { ...process.env, VMTAPE_HOME: options.home });
}

/** The QEMU programs to try. When the user names one, only that. */
export function qemuCandidates(options: TapeOptions): string[] {
  const chosen = options.qemu ?? process.env.VMTAPE_QEMU;
  return [chosen || "qemu-system-x86_64"];
}

/**
 * The context that a command gives to the functions it calls. Debug lines go to stderr if the user asked for them.
 */
export function contextFor(
  options: TapeOptions,
  signal: AbortSignal | undefined,
  progress?: { readonly sink: ProgressSink },
): RunContext & { readonly places: Places } {
  return {
    places: placesOf(options),
    qemu: qemuCandidates(options),
    debug: options.debug ? (line) => note(`debug: ${line}`) : undefined,
    onProgress: progress?.sink,
    signal,
  };
}

/** A positive number of seconds. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value) || value > 2_000_000) {
    throw new InvalidArgumentError("it must be a positive number of seconds.");
  }
  return value;
}

/** Collects the values of an option that may be given several times. */
export function several(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
