import { type FileHandle, open, readdir, readFile, readlink } from "node:fs/promises";
import { VmtapeError } from "../base/errors.js";

/**
 * The name of vmtape's files of guest RAM. {@link GuestRam} finds them by it; without such a file it finds QEMU's own
 * memfd.
 */
export const ramFileName = "guest-ram";
/** The path ends with it. A session's own file has random digits before. */
const ramFilePath = new RegExp(`[/.]${ramFileName}$`);

/**
 * Guest RAM of a running QEMU, read from outside while the machine is stopped. Offset 0 is guest physical address
 * 0; RAM above the 32-bit PCI hole follows without a gap.
 *
 * Shared RAM is read through QEMU's own descriptor; a private (copy-on-write) mapping through /proc/PID/mem,
 * which the kernel allows a parent.
 */
export class GuestRam implements AsyncDisposable {
  readonly bytes: number;
  private readonly file: FileHandle;
  private readonly base: number;

  private constructor(file: FileHandle, base: number, bytes: number) {
    this.file = file;
    this.base = base;
    this.bytes = bytes;
  }

  /**
   * @param access `write`: reads and writes; write only while the machine is stopped
   * @throws `qemu-failed` when the process has ended or has no such memory
   */
  static async open(pid: number, access: "read" | "write" = "read"): Promise<GuestRam> {
    const flags = access === "write" ? "r+" : "r";
    const mapping = await findMapping(pid);
    const shared = mapping?.shared ? await findDescriptor(pid, mapping.name) : undefined;
    try {
      if (mapping && shared) return new GuestRam(await open(shared, flags), 0, mapping.bytes);
      if (mapping) return new GuestRam(await open(`/proc/${pid}/mem`, flags), mapping.start, mapping.bytes);
    } catch {
      // it has just ended, or the kernel refuses access
    }
    throw new VmtapeError("qemu-failed", "QEMU's guest memory cannot be read", { pid });
  }

  /**
   * Fills `into` from physical `offset`, as far as there is RAM. Returns the number of bytes.
   *
   * @throws `qemu-failed` when the process has ended
   */
  async read(into: Uint8Array, offset: number): Promise<number> {
    const wanted = Math.max(0, Math.min(into.length, this.bytes - offset));
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.file
        .read(into, filled, wanted - filled, this.base + offset + filled)
        .catch(() => ({ bytesRead: 0 }));
      // All of it is RAM, so when nothing can be read the process has ended.
      if (bytesRead === 0) throw new VmtapeError("qemu-failed", "QEMU went away with the guest's memory");
      filled += bytesRead;
    }
    return filled;
  }

  /** Writes bytes at a physical offset, all of which must be RAM. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.file.write(bytes, at, bytes.length - at, this.base + offset + at);
      at += bytesWritten;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.file.close();
  }
}

interface Mapping {
  readonly start: number;
  readonly bytes: number;
  readonly shared: boolean;
  readonly name: string;
}

/** Source of the line format: proc(5), /proc/pid/maps. */
const mapsLine = /^([0-9a-f]+)-([0-9a-f]+) r..([ps]) [0-9a-f]+ \S+ \d+ +(.*)$/;

/** The largest mapping of guest RAM: QEMU maps it once, in one piece. */
async function findMapping(pid: number): Promise<Mapping | undefined> {
  const maps = await readFile(`/proc/${pid}/maps`, "utf8").catch(() => "");
  let largest: Mapping | undefined;
  for (const line of maps.split("\n")) {
    const match = mapsLine.exec(line);
    if (!match || !isRamName(match[4]!)) continue;
    const start = Number.parseInt(match[1]!, 16);
    const bytes = Number.parseInt(match[2]!, 16) - start;
    if (bytes > (largest?.bytes ?? 0)) largest = { start, bytes, shared: match[3] === "s", name: match[4]! };
  }
  return largest;
}

function isRamName(name: string): boolean {
  const plain = name.replace(/ \(deleted\)$/, "");
  return plain.startsWith("/memfd:memory-backend-memfd") || ramFilePath.test(plain);
}

async function findDescriptor(pid: number, name: string): Promise<string | undefined> {
  const directory = `/proc/${pid}/fd`;
  for (const fd of await readdir(directory).catch(() => [] as string[])) {
    const target = await readlink(`${directory}/${fd}`).catch(() => "");
    if (target === name) return `${directory}/${fd}`;
  }
  return undefined;
}
