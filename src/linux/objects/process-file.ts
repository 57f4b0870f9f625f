import { isVmtapeError } from "../../base/errors.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { readCommandLine } from "./command-line.js";
import { readFileAt } from "./file.js";
import { formatMapping, readMappings } from "./mappings.js";
import { PathReader, systemRoot } from "./paths.js";
import type { Task } from "./task.js";

/** Entries of /proc/PID that debuggers ask for; `exe` and `cwd` are links, whose text is where they lead. */
export type ProcessFile = "maps" | "cmdline" | "auxv" | "exe" | "cwd";

/**
 * What an entry of /proc/PID holds, as the guest's kernel would have said at this instant; undefined where it has none
 * (a kernel thread's `exe`).
 *
 * @throws VmtapeError `not-found` without BTF; `bad-memory`, `not-mapped`
 */
export async function readProcessFile(
  guest: LinuxGuest,
  task: Task,
  file: ProcessFile,
): Promise<Uint8Array | undefined> {
  switch (file) {
    case "maps":
      return text((await readMappings(guest, task)).map((one) => `${formatMapping(one)}\n`).join(""));
    case "cmdline": {
      const line = await readCommandLine(guest, task);
      return text((line?.words ?? []).map((word) => `${word}\0`).join(""));
    }
    case "auxv":
      return task.mm === undefined ? new Uint8Array() : readAuxiliary(guest, task.mm);
    case "exe":
      return task.mm === undefined ? undefined : readProgram(guest, task.mm);
    case "cwd":
      return readDirectory(guest, task);
  }
}

/** The auxiliary vector has at most so many pairs. Source: `AT_VECTOR_SIZE`, some 30 on x86. */
const mostPairs = 64;
const pairBytes = 16;

/** Pairs up to and with the one of `AT_NULL`. */
async function readAuxiliary(guest: LinuxGuest, mm: bigint): Promise<Uint8Array> {
  const at = mm + BigInt(guest.types.struct("mm_struct").member("saved_auxv").byteOffset);
  const pairs: Uint8Array[] = [];
  while (pairs.length < mostPairs) {
    const pair = await guest.memory.read(at + BigInt(pairs.length * pairBytes), pairBytes);
    if (!pair) break;
    pairs.push(Uint8Array.from(pair));
    if (Buffer.from(pair).readBigUInt64LE() === 0n) break;
  }
  return Buffer.concat(pairs);
}

async function readProgram(guest: LinuxGuest, mm: bigint): Promise<Uint8Array | undefined> {
  const file = (await guest.read("mm_struct", mm, ["exe_file"])).word("exe_file");
  if (file === 0n) return undefined;
  const { path } = await readFileAt(guest, new PathReader(guest), file, await systemRoot(guest));
  return text(path);
}

async function readDirectory(guest: LinuxGuest, task: Task): Promise<Uint8Array | undefined> {
  const fs = (await guest.read("task_struct", task.address, ["fs"])).word("fs");
  if (fs === 0n) return undefined;
  const place = await guest.read("fs_struct", fs, ["pwd.mnt", "pwd.dentry"]);
  const path = { mount: place.word("pwd.mnt"), entry: place.word("pwd.dentry") };
  return text(await new PathReader(guest).text(path, await systemRoot(guest)));
}

/** Is there nothing to read for a reason that lies in the guest: no Linux, no such process, no BTF? */
export function isMissing(error: unknown): boolean {
  return ["not-found", "bad-memory", "not-mapped"].some((code) => isVmtapeError(error, code as "not-found"));
}

function text(string: string): Uint8Array {
  return Buffer.from(string, "utf8");
}
