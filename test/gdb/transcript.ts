import { type ChildProcess, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { expect } from "vitest";
import { withoutProgress } from "../workbench.js";

/**
 * The arguments for a gdb that runs these commands in order, prints each before its output, and goes on after errors.
 */
export function gdbArguments(commands: readonly string[]): string[] {
  const first = ["set confirm off", "set pagination off", "set width 0"];
  const shown = commands.flatMap((line) => [`echo (gdb) ${line.replace(/[\\"]/g, "\\$&")}\\n`, line]);
  return ["-nx", "-batch", ...[...first, ...shown].flatMap((line) => ["-ex", line])];
}

/** The same arguments for lldb, which prints commands by itself. */
export function lldbArguments(commands: readonly string[]): string[] {
  const first = ["settings set use-color false", "settings set auto-confirm true"];
  return ["-X", "-b", ...[...first, ...commands].flatMap((line) => ["-o", line])];
}

/** Starts a program with stdout and stderr in one pipe, so that their order is kept. */
export function spawnMerged(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): ChildProcess {
  return spawn("sh", ["-c", 'exec "$@" 2>&1', "sh", program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, LC_ALL: "C", TERM: "dumb", DEBUGINFOD_URLS: "", ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
}

/** Everything that a child prints until it ends, without progress lines, which depend on the host. */
export async function printed(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout!.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  await new Promise((resolve) => child.on("close", resolve));
  return withoutProgress(text).replace(/[ \t]+$/gm, "");
}

/**
 * Replaces positions and addresses of tiny machines (from 1 MiB on) by `0x…:… @…` and `0x…`, since they depend on the
 * compiler and the recording.
 */
export function withoutNumbers(text: string): string {
  return text.replace(/0x[0-9a-f]+:\d+(\/\d+)? @\d+/g, "0x…:… @…").replace(/0x0*1[0-9a-f]{5}\b/g, "0x…");
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
