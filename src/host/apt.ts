import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";
import { findProgram, runTool } from "../base/tool.js";

/** The command line of apt-get, with sudo unless the user is root. */
function aptGet(...args: readonly string[]): string[] {
  return [...(process.getuid?.() === 0 ? [] : ["sudo"]), "apt-get", ...args];
}

/** The command line that installs packages here. */
export function installCommand(packages: readonly string[]): string[] {
  return aptGet("install", "-y", "--no-install-recommends", ...packages);
}

/** Options of {@link installPackages}. */
export interface InstallOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for another program that holds the package system's locks, in seconds. Default: ten minutes. */
  readonly patience?: number;
  /** Called once when it has to wait. */
  readonly onWait?: (why: string) => void;
}

/**
 * Installs Debian packages. The package lists are updated first when they do not know one of them; when installing
 * fails, they are updated and it is tried once more. The output goes to stderr, so that the user sees what happens
 * and can type a password for sudo. While another program works with packages (unattended upgrades, another vmtape),
 * it waits.
 *
 * @throws `missing-tool` without apt-get, or when it fails, with the command to run by hand; `cancelled`
 */
export async function installPackages(
  packages: readonly string[],
  options: InstallOptions = {},
): Promise<void> {
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
  const update = () => patiently(aptGet("update"), options).catch(unlessCancelled);
  if (!(await allKnown(packages))) await update();
  try {
    await patiently(installCommand(packages), options);
  } catch (error) {
    unlessCancelled(error);
    // The lists may name versions that the archive no longer has: update them once and try again.
    if (!(error instanceof AptError && error.isLocked)) {
      await update();
      const again = await patiently(installCommand(packages), options).catch(unlessCancelled);
      if (again !== "failed") return;
    }
    const why = error instanceof AptError && error.isLocked ? ": another program holds apt's lock" : "";
    throw new VmtapeError("missing-tool", `installing ${packages.join(", ")} failed${why}`, { mend }, error);
  }
}

function unlessCancelled(error: unknown): "failed" {
  if (isVmtapeError(error, "cancelled")) throw error;
  return "failed";
}

async function allKnown(packages: readonly string[]): Promise<boolean> {
  const { stdout } = await runTool("apt-cache", ["policy", ...packages]).catch(() => ({ stdout: "" }));
  const candidates = stdout.split("\n").filter((line) => /^\s+Candidate: (?!\(none\))/.test(line));
  return candidates.length === packages.length;
}

/** apt-get has ended with an error. */
class AptError extends Error {
  /** Another program held a lock. */
  readonly isLocked: boolean;

  constructor(message: string, isLocked: boolean) {
    super(message);
    this.isLocked = isLocked;
  }
}

const defaultPatience = 600;
const lookMs = 500;
/**
 * The message of apt when another program holds a lock. Source: apt-pkg/contrib/fileutl.cc, apt-pkg/deb/debsystem.cc.
 */
const lockedText = /^E: (Could not get lock|Unable to (lock|acquire)|.*is another process using it)/;

/**
 * Runs apt-get, again and again while another program holds a lock. By itself apt-get waits only for dpkg's lock
 * (`DPkg::Lock::Timeout`), not for those of its lists and downloads.
 */
async function patiently(command: readonly string[], options: InstallOptions): Promise<void> {
  const { signal, patience = defaultPatience, onWait } = options;
  const deadline = performance.now() + patience * 1000;
  process.stderr.write(`+ ${command.join(" ")}\n`);
  for (let tries = 0; ; tries++) {
    throwIfAborted(signal);
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    const waiting = [...command, "-o", `DPkg::Lock::Timeout=${left}`];
    try {
      return await passThrough(waiting, signal);
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof AptError && error.isLocked) || performance.now() > deadline) throw error;
      if (tries === 0) onWait?.(error.message);
    }
    await delay(lookMs, undefined, { signal }).catch(() => {});
  }
}

/**
 * Runs a command whose output goes to stderr. Messages about locks are held back, and become the message of the
 * error.
 */
function passThrough(command: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, {
      stdio: ["inherit", 2, "pipe"],
      env: { ...process.env, LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
    });
    const link = whenAborted(signal, () => child.kill("SIGTERM"));
    let locked: string | undefined;
    const lines = createInterface({ input: child.stderr! });
    lines.on("line", (line) => {
      if (lockedText.test(line)) locked ??= line.slice("E: ".length);
      else process.stderr.write(`${line}\n`);
    });
    child.once("error", reject);
    child.once("close", (code) => {
      link[Symbol.dispose]();
      if (code === 0) resolve();
      else reject(new AptError(locked ?? `${program} ended with ${code}`, locked !== undefined));
    });
  });
}
