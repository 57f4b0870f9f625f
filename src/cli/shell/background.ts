import { fork } from "node:child_process";
import { type ErrorCode, type ErrorFacts, VmtapeError } from "../../base/errors.js";
import { whenAborted } from "../../base/stopping.js";

/** The one message that a command in the background sends to the process that started it. */
type Report =
  | { readonly started: Readonly<Record<string, unknown>> }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string; readonly facts: ErrorFacts } };

const marker = "VMTAPE_BACKGROUND";

/** Was this process started by {@link startInBackground}? */
export function isInBackground(): boolean {
  return process.env[marker] === "1";
}

/**
 * Runs this command line again in a process with a session of its own, and waits until that reports that its work has
 * begun.
 *
 * @param signal interrupts it, as long as it has not begun
 * @returns its process id and the facts that it reported
 * @throws the error with which it failed
 */
export function startInBackground(
  signal: AbortSignal,
): Promise<{ pid: number; facts: Readonly<Record<string, unknown>> }> {
  const child = fork(process.argv[1]!, process.argv.slice(2), {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    env: { ...process.env, [marker]: "1" },
  });
  const link = whenAborted(signal, () => child.kill("SIGINT"));
  return new Promise((resolve, reject) => {
    child.once("message", (report: Report) => {
      link[Symbol.dispose]();
      child.disconnect();
      child.unref();
      if ("started" in report) resolve({ pid: child.pid!, facts: report.started });
      else reject(new VmtapeError(report.failed.code, report.failed.message, report.failed.facts));
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      reject(
        new VmtapeError(
          "qemu-failed",
          `the process in the background ended before it began: ${signal ?? `exit code ${code}`}`,
        ),
      );
    });
  });
}

const endMyself = () => process.kill(process.pid, "SIGTERM");

/** To be called in the background process: reports that the work has begun. */
export function reportStarted(facts: Readonly<Record<string, unknown>>): void {
  process.off("disconnect", endMyself);
  if (process.connected) process.send?.({ started: facts }, () => process.disconnect?.());
}

/**
 * To be called in the background process with the first part of its work: passes its failure on. When the process
 * that waits for it is killed meanwhile, the work is ended as by SIGTERM.
 */
export async function beginning<T>(work: Promise<T>): Promise<T> {
  if (isInBackground() && process.listenerCount("disconnect") === 0) process.once("disconnect", endMyself);
  try {
    return await work;
  } catch (error) {
    if (isInBackground() && process.connected && error instanceof VmtapeError) {
      process.off("disconnect", endMyself);
      const { code, message, facts } = error;
      await new Promise((resolve) =>
        process.send?.({ failed: { code, message, facts: plain(facts) } }, resolve),
      );
    }
    throw error;
  }
}

/** Facts without bigints, since the channel between the processes carries JSON. */
function plain(facts: ErrorFacts): ErrorFacts {
  return JSON.parse(
    JSON.stringify(facts, (_key, value) => (typeof value === "bigint" ? String(value) : value)),
  );
}
