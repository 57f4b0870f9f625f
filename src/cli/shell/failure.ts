import pc from "picocolors";
import { type ErrorClass, type ErrorCode, type ErrorFacts, VmtapeError } from "../../base/errors.js";
import { printable } from "../../base/printable.js";
import { toJson } from "./output.js";

/** Exit code of a command that Ctrl-C, SIGTERM or a closed terminal ended, its tape complete or not. */
export const interruptedExitCode = 130;

/** Exit code by class of error. */
export const exitCodes: Record<ErrorClass, number> = {
  no: 1,
  input: 2,
  machine: 3,
  cancelled: interruptedExitCode,
  internal: 70,
};

/** Advice for errors that have no command of their own that mends them. */
const advice: Partial<Record<ErrorCode, string>> = {
  "no-such-tape": "vmtape list shows the tapes there are",
  "tape-exists": "choose another name, or replace it with -f",
  "tape-busy": "vmtape stop NAME ends a recording",
  "bad-manifest": "the tape cannot be used; if it was copied, copy it again",
  "bad-log": "if the recorder was killed: vmtape repair NAME",
  changed: "a tape replays only with the bytes it was recorded with: restore the file",
  "disk-full":
    "free some space, or choose another place: --home DIR or -s DIR for tapes, XDG_CACHE_HOME for the cache",
  "not-writable": "choose another place: --home DIR or -s DIR for tapes, XDG_CACHE_HOME for the cache",
  "bad-guest": "name a Linux bzImage, an ELF vmlinux or a Multiboot kernel",
};

/** Prints an error as one sentence with advice, on stderr. Returns the exit code. */
export function reportFailure(error: unknown, json = jsonWanted()): number {
  const known = error instanceof VmtapeError ? error : defect(error);
  const help = known.facts.mend ?? advice[known.code];
  // Names, paths and QEMU's messages may contain any characters; an error is printed as one line.
  const sentence = printable(known.message.replaceAll("\n", " "));
  if (known.code === "cancelled") {
    process.stderr.write(`vmtape: ${sentence}\n`);
  } else {
    process.stderr.write(`${pc.red("vmtape:")} ${sentence}${help ? ` (${printable(help)})` : ""}\n`);
  }
  if (json && known.code !== "cancelled") {
    sayJsonError(known.toJSON());
  }
  return exitCodes[known.class];
}

function defect(error: unknown): VmtapeError {
  const text = error instanceof Error ? error.message : String(error);
  if (process.env.VMTAPE_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return new VmtapeError(
    "internal",
    `a defect of vmtape: ${text}`,
    { mend: "VMTAPE_DEBUG=1 prints where" },
    error,
  );
}

/** Prints an error as an object on stdout, for `--json`. */
export function sayJsonError(
  error: ErrorFacts & { readonly code: ErrorCode; readonly message: string },
): void {
  process.stdout.write(`${toJson({ error })}\n`);
}

export function jsonWanted(): boolean {
  return process.argv.includes("--json");
}
