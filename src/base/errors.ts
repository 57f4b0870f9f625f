import { jsonText } from "./json.js";
/**
 * Errors are facts: a stable code, a neutral sentence, and fields. The command line adds advice and picks the
 * exit code from the code's class; a library user switches on `code`.
 */

/** Every error code, with the class that decides the command line's exit code. */
export const errorClasses = {
  /** The answer is no: exit 1. */
  diverged: "no",
  "not-found": "no",
  "not-reached": "no",
  /** No memory at a guest address. */
  "not-mapped": "no",
  "bad-memory": "no",
  /** The user's words or files are wrong: exit 2. */
  usage: "input",
  "bad-name": "input",
  "no-such-tape": "input",
  "tape-exists": "input",
  "tape-busy": "input",
  "tape-unfinished": "input",
  "tape-idle": "input",
  "bad-manifest": "input",
  "bad-log": "input",
  "bad-file": "input",
  "bad-guest": "input",
  changed: "input",
  unsupported: "input",
  "limit-exceeded": "input",
  /** The machine lacks something: exit 3. */
  "missing-tool": "machine",
  "wrong-qemu": "machine",
  "disk-full": "machine",
  "not-writable": "machine",
  "qemu-failed": "machine",
  "qemu-hung": "machine",
  "protocol-error": "machine",
  inexact: "machine",
  /** The user asked to stop: exit 130. */
  cancelled: "cancelled",
  /** A defect of vmtape itself: exit 70. */
  internal: "internal",
} as const;

export type ErrorCode = keyof typeof errorClasses;
export type ErrorClass = (typeof errorClasses)[ErrorCode];

/** Facts that go with an error: file, offset, expected, got, position, mend (a command that mends it) … */
export interface ErrorFacts {
  readonly file?: string | undefined;
  readonly offset?: number | bigint | undefined;
  readonly expected?: string | undefined;
  readonly got?: string | undefined;
  readonly icount?: bigint | undefined;
  /** A shell command that mends the cause, where one is known. */
  readonly mend?: string | undefined;
  readonly [name: string]: unknown;
}

/** The one error class of the library. `message` is one sentence without a final full stop. */
export class VmtapeError extends Error {
  override readonly name = "VmtapeError";
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
  }

  get class(): ErrorClass {
    return errorClasses[this.code];
  }

  /** As `--json` prints it: code, message and facts side by side, each of them JSON. */
  toJSON(): ErrorFacts & { readonly code: ErrorCode; readonly message: string } {
    const { code, message, facts } = this;
    return JSON.parse(jsonText({ code, message, ...facts }));
  }
}

/** Is `error` a VmtapeError, of this code when one is given? */
export function isVmtapeError(error: unknown, code?: ErrorCode): error is VmtapeError {
  return error instanceof VmtapeError && (code === undefined || error.code === code);
}

/** Node's errno name (`ENOENT`, `ENOSPC` …) of an error, when it has one. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Turns a file-system error into a fact that names the file; passes a VmtapeError through. */
export function fileError(error: unknown, file: string, doing: string): VmtapeError {
  if (error instanceof VmtapeError) return error;
  const errno = errnoOf(error);
  const facts = { file, errno };
  switch (errno) {
    case "ENOENT": {
      const what = doing === "writing" ? `the directory of ${file}` : file;
      return new VmtapeError("bad-file", `${what} does not exist`, facts, error);
    }
    case "EISDIR":
      return new VmtapeError("bad-file", `${file} is a directory`, facts, error);
    case "ENOTDIR":
      return new VmtapeError(
        "bad-file",
        `${file} cannot be there: a part of its path is no directory`,
        facts,
        error,
      );
    case "ENOSPC":
    case "EDQUOT":
      return new VmtapeError("disk-full", `no space left while ${doing} ${file}`, facts, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      if (doing === "reading")
        return new VmtapeError("bad-file", `no permission for reading ${file}`, facts, error);
      return new VmtapeError("not-writable", `no permission for ${doing} ${file}`, facts, error);
    default: {
      const why = error instanceof Error ? error.message : String(error);
      return new VmtapeError("bad-file", `${doing} ${file} failed: ${why}`, facts, error);
    }
  }
}
