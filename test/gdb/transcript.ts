import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { expect } from "vitest";

/** How a debugger's session is run. */
export interface Session {
  readonly program: "gdb" | "lldb";
  readonly attachTo: string;
  /** Typed one after the other; an error in one does not keep the next from running. */
  readonly commands: readonly string[];
  readonly cwd?: string;
  /** What differs from run to run, and what to write in its place. */
  readonly scrub?: readonly (readonly [RegExp, string])[];
}

/** Runs a debugger over its commands; gives back what it printed, each command before its output. */
export async function transcript(session: Session): Promise<string> {
  const args = session.program === "gdb" ? gdbArguments(session) : lldbArguments(session);
  const child = spawn(session.program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C", TERM: "dumb", DEBUGINFOD_URLS: "" },
    ...(session.cwd !== undefined && { cwd: session.cwd }),
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
  }
  await new Promise((resolve) => child.on("close", resolve));
  for (const [pattern, replacement] of session.scrub ?? []) text = text.replace(pattern, replacement);
  return text.replace(/[ \t]+$/gm, "");
}

function gdbArguments({ attachTo, commands }: Session): string[] {
  const first = ["set confirm off", "set pagination off", "set width 0"];
  const shown = [`target remote ${attachTo}`, ...commands].flatMap((line) => [
    `echo (gdb) ${line.replace(/\\/g, "\\\\")}\\n`,
    line,
  ]);
  return ["-nx", "-batch", ...[...first, ...shown].flatMap((line) => ["-ex", line])];
}

function lldbArguments({ attachTo, commands }: Session): string[] {
  const first = ["settings set use-color false", "settings set auto-confirm true"];
  const shown = [attachTo, ...commands];
  return ["-X", "-b", ...[...first, ...shown].flatMap((line) => ["-o", line])];
}

/**
 * Compares with `test/golden/gdb/NAME.txt`; a missing file fails. `VMTAPE_UPDATE_GOLDEN=1` writes it: look at the
 * difference before committing it.
 */
export async function expectGolden(name: string, text: string): Promise<void> {
  const file = new URL(`../golden/gdb/${name}.txt`, import.meta.url);
  if (process.env.VMTAPE_UPDATE_GOLDEN) await writeFile(file, text);
  expect(text).toBe(await readFile(file, "utf8"));
}
