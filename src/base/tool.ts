import { execFile } from "node:child_process";
import { access, constants, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { VmtapeError } from "./errors.js";
import { stoppedOnRequest } from "./stopping.js";

/** The result of a short-lived program that ended by itself with exit code 0. */
export interface ToolOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a short-lived program, without a shell, and returns what it printed.
 *
 * @throws VmtapeError `missing-tool` when it is not there, `cancelled` on abort, `qemu-failed` never; a non-zero exit
 *   is `bad-file` with the program's last line, since tools are run on users' files.
 */
export function runTool(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly signal?: AbortSignal | undefined; readonly mend?: string } = {},
): Promise<ToolOutput> {
  const { mend, ...spawn } = options;
  return new Promise((resolve, reject) => {
    execFile(program, args, { maxBuffer: 64 << 20, ...spawn }, (error, stdout, stderr) => {
      if (!error) return resolve({ stdout, stderr });
      if (error.code === ("ENOENT" as never)) {
        return reject(
          new VmtapeError("missing-tool", `${program} is not installed`, {
            tool: program,
            ...(mend && { mend }),
          }),
        );
      }
      if (error.name === "AbortError") return reject(stoppedOnRequest());
      const lastLine = stderr.trim().split("\n").at(-1) || error.message;
      reject(new VmtapeError("bad-file", `${program} failed: ${lastLine}`, { tool: program, args }, error));
    });
  });
}

/** The absolute path of an executable on PATH (or of `program` itself when it has a slash); else undefined. */
export async function findProgram(
  program: string,
  path = process.env.PATH ?? "",
): Promise<string | undefined> {
  const candidates = program.includes("/")
    ? [program]
    : path
        .split(delimiter)
        .filter(isAbsolute)
        .map((directory) => join(directory, program));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      if ((await stat(candidate)).isFile()) return candidate;
    } catch {
      // not here: try the next
    }
  }
  return undefined;
}
