import { VmtapeError } from "../../base/errors.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { type GuestFile, readFileAt } from "./file.js";
import { PathReader, systemRoot } from "./paths.js";
import type { Task } from "./task.js";

/** A file descriptor of a task: an entry of /proc/PID/fd, with what its fdinfo says. */
export interface OpenFile extends GuestFile {
  readonly descriptor: number;
  /** Closed by `execve`. */
  readonly closesOnExec: boolean;
}

/** `NR_OPEN_MAX` lets a process have 2^31; the default most, `sysctl fs.nr_open`, is 2^20. */
const mostDescriptors = 1 << 20;

/**
 * The open files of a task, by descriptor; none for a task that has ended.
 *
 * @throws VmtapeError `not-found` without BTF; `bad-memory`, `not-mapped` when they are not as the kernel keeps them
 */
export async function readOpenFiles(guest: LinuxGuest, task: Task): Promise<OpenFile[]> {
  const files = (await guest.read("task_struct", task.address, ["files"])).word("files");
  if (files === 0n) return [];
  const table = (await guest.read("files_struct", files, ["fdt"])).word("fdt");
  const view = await guest.read("fdtable", table, ["max_fds", "fd", "close_on_exec"]);
  const count = view.number("max_fds");
  if (count > mostDescriptors) {
    throw new VmtapeError("bad-memory", `task ${task.pid} has a table of ${count} descriptors`, {
      address: table,
      limit: mostDescriptors,
    });
  }
  const pointers = words(await bytesAt(guest, view.word("fd"), count * 8));
  const closing = await bytesAt(guest, view.word("close_on_exec"), Math.ceil(count / 64) * 8);
  const root = await systemRoot(guest);
  const paths = new PathReader(guest);
  const open: OpenFile[] = [];
  for (let descriptor = 0; descriptor < count; descriptor++) {
    const pointer = pointers[descriptor]!;
    if (pointer === 0n) continue;
    open.push({
      ...(await readFileAt(guest, paths, pointer, root)),
      descriptor,
      closesOnExec: ((closing[descriptor >> 3]! >> (descriptor & 7)) & 1) === 1,
    });
  }
  return open;
}

async function bytesAt(guest: LinuxGuest, address: bigint, length: number): Promise<Uint8Array> {
  const bytes = length === 0 ? new Uint8Array(0) : await guest.memory.read(address, length);
  if (bytes) return bytes;
  throw new VmtapeError("not-mapped", `nothing is mapped at 0x${address.toString(16)}`, { address });
}

function words(bytes: Uint8Array): BigUint64Array {
  return new BigUint64Array(Uint8Array.from(bytes).buffer);
}
