import { pageSize } from "../../base/guest-memory.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { Task } from "./task.js";

/** A process's command line, as far as its pages are in memory. */
export interface CommandLine {
  readonly words: readonly string[];
  /** What of it is not in memory, and why. */
  readonly missing?: { readonly address: bigint; readonly why: "swapped out" | "not in memory" };
}

/** No command line is longer (a quarter of the stack limit, 2 MB by default). */
const longest = 2 << 20;
/** A program that overwrote its arguments (setproctitle) has at most this of its new title shown. */
const longestTitle = 4096;

/**
 * The command line of a task, from its own memory through its own page tables: what it was started with, or what it
 * wrote there. Undefined for a kernel thread or a task that has ended.
 *
 * @throws VmtapeError `not-found` without BTF; `not-mapped` when its `mm_struct` is not there
 */
export async function readCommandLine(guest: LinuxGuest, { mm }: Task): Promise<CommandLine | undefined> {
  if (mm === undefined) return undefined;
  const view = await guest.read("mm_struct", mm, ["pgd", "arg_start", "arg_end", "env_end"]);
  const start = view.word("arg_start");
  const end = view.word("arg_end");
  if (start === 0n || end <= start) return { words: [] };
  const memory = await guest.userMemory(view.word("pgd"));
  const length = Math.min(Number(end - start), longest);
  let bytes = await memoryUntilHole(memory, start, length);
  const hole = bytes.length < length ? start + BigInt(bytes.length) : undefined;
  // As get_mm_cmdline has it: without a NUL at its end it was overwritten, and goes on into the environment.
  if (hole === undefined && bytes.at(-1) !== 0) {
    const title = Number(view.word("env_end") - start);
    bytes = await memoryUntilHole(memory, start, Math.min(Math.max(title, length), longestTitle));
    const nul = bytes.indexOf(0);
    bytes = nul < 0 ? bytes : bytes.subarray(0, nul);
  }
  const words = splitWords(bytes);
  if (hole === undefined) return { words };
  const { entry } = await memory.translate(hole);
  return { words, missing: { address: hole, why: entry === 0n ? "not in memory" : "swapped out" } };
}

/** The bytes from an address on up to the first page that is not mapped. */
async function memoryUntilHole(
  memory: { read(address: bigint, length: number): Promise<Uint8Array | undefined> },
  start: bigint,
  length: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const end = start + BigInt(length);
  for (let at = start; at < end; ) {
    const next = (at / pageSize + 1n) * pageSize;
    const part = await memory.read(at, Number((next < end ? next : end) - at));
    if (!part) break;
    parts.push(part);
    at = next;
  }
  return Buffer.concat(parts);
}

function splitWords(bytes: Uint8Array): string[] {
  if (bytes.length === 0) return [];
  const text = Buffer.from(bytes).toString("utf8");
  return (text.endsWith("\0") ? text.slice(0, -1) : text).split("\0");
}
