import { spawn } from "node:child_process";
import { VmtapeError } from "../base/errors.js";
import { findProgram, runTool } from "../base/tool.js";

/** apt-get as it must be called here: with sudo unless we are root. */
function aptGet(...args: readonly string[]): string[] {
  return [...(process.getuid?.() === 0 ? [] : ["sudo"]), "apt-get", ...args];
}

/** The command line that installs packages here. */
export function installCommand(packages: readonly string[]): string[] {
  return aptGet("install", "-y", "--no-install-recommends", ...packages);
}

/**
 * Installs Debian packages, fetching the package lists when they do not know one. Its output goes to stderr, so
 * that the user sees what happens and can type a password for sudo.
 *
 * @throws `missing-tool` without apt-get, or when it fails: with the command to run by hand
 */
export async function installPackages(packages: readonly string[]): Promise<void> {
  const mend = installCommand(packages).join(" ");
  if (!(await findProgram("apt-get"))) {
    throw new VmtapeError(
      "missing-tool",
      `this system has no apt-get: install ${packages.join(", ")} by hand`,
      {
        tool: "apt-get",
      },
    );
  }
  if (!(await allKnown(packages))) await passThrough(aptGet("update")).catch(() => {});
  try {
    await passThrough(installCommand(packages));
  } catch (error) {
    // Lists may be older than what the archive still holds: fetch them once and try again.
    await passThrough(aptGet("update")).catch(() => {});
    await passThrough(installCommand(packages)).catch(() => {
      throw new VmtapeError("missing-tool", `installing ${packages.join(", ")} failed`, { mend }, error);
    });
  }
}

async function allKnown(packages: readonly string[]): Promise<boolean> {
  const { stdout } = await runTool("apt-cache", ["policy", ...packages]).catch(() => ({ stdout: "" }));
  const candidates = stdout.split("\n").filter((line) => /^\s+Candidate: (?!\(none\))/.test(line));
  return candidates.length === packages.length;
}

function passThrough(command: readonly string[]): Promise<void> {
  const [program, ...args] = command;
  process.stderr.write(`+ ${command.join(" ")}\n`);
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, {
      stdio: ["inherit", 2, 2],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`)),
    );
  });
}
