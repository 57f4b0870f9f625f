import { randomBytes } from "node:crypto";
import { type FileHandle, open, stat, statfs, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileError } from "../../base/errors.js";
import { noLinks } from "../../base/regular-file.js";
import { copySparse } from "../../base/sparse-file.js";
import { decodeQcow2Head, qcow2HeadBytes } from "../../formats/qcow2.js";
import { encodeEmptyQcow2 } from "../../formats/qcow2-empty.js";
import type { Machine, MachineDisk, RunPlan } from "../../qemu/machine.js";
import { inheritedFile } from "../../qemu/process.js";
import { GuestRam, ramFileName } from "../../qemu/ram.js";
import type { PhysicalRange } from "../../qemu/rom-images.js";
import { readHead } from "../../tape/store.js";
import type { Tape } from "../../tape/tape.js";
import type { Checkpoint } from "./checkpoint.js";
import { CheckpointFiles } from "./checkpoint-files.js";

/** Virtual size of the empty image that holds the snapshot of the devices. */
const stateImageBytes = 1n << 20n;
const memoryDirectory = "/dev/shm";
/** Bytes that are to stay free there beside the RAM. */
const spareMemory = 64 << 20;

/**
 * The files of a session that starts from a checkpoint or is to make some. Files of its own are removed before QEMU
 * inherits them open. So they end with the session however it ends, and no other process can remove them meanwhile.
 */
export class SessionFiles implements AsyncDisposable {
  /** In the order in which QEMU inherits them. */
  readonly handles: readonly FileHandle[];
  /** The files from which a checkpoint is copied; undefined when the session was not made to leave any. */
  readonly sources: CheckpointSources | undefined;
  private readonly tape: Tape;
  /** The checkpoint's RAM. */
  private origin: FileHandle | undefined;

  private constructor(tape: Tape, handles: readonly FileHandle[], leaves: boolean) {
    this.tape = tape;
    this.handles = handles;
    const [ram, state, ...images] = handles as [FileHandle, FileHandle, ...FileHandle[]];
    this.sources = leaves ? { ram, state, disks: images } : undefined;
  }

  /** Files for a session from the tape's beginning that is to leave checkpoints. */
  static fresh(tape: Tape): Promise<SessionFiles> {
    return SessionFiles.make(tape, true, async (own) => {
      await own(ramFileName, await roomyDirectory(tape));
      await put(await own("state", await roomyDirectory(tape)), encodeEmptyQcow2(stateImageBytes));
      for (const disk of tape.machine.disks)
        await put(await own("disk", tmpdir()), encodeEmptyQcow2(await sizeOf(disk)));
    });
  }

  /**
   * Files for a session from `checkpoint`; RAM and disks are shared with all other sessions from it. Cost: 1 ms.
   *
   * @param leaves the session is to make checkpoints: it gets copies, which takes about 40 ms
   * @throws `bad-file` (`isLostCheckpoint`)
   */
  static async from(tape: Tape, checkpoint: Checkpoint, leaves = false): Promise<SessionFiles> {
    await using stored = await CheckpointFiles.open(checkpoint, tape.machine.disks.length);
    const files = await SessionFiles.make(tape, leaves, async (own, share) => {
      const memory = await roomyDirectory(tape);
      if (leaves) await copySparse(stored.ram, await own(ramFileName, memory), await stored.ramPages());
      else await share(stored.ram);
      // Loading a snapshot writes into its image.
      await copySparse(stored.state, await own("state", memory));
      for (const disk of stored.disks) {
        if (leaves) await copySparse(disk, await own("disk", tmpdir()));
        else await share(disk);
      }
    });
    files.origin = await openAgain(stored.ram);
    return files;
  }

  private static async make(
    tape: Tape,
    leaves: boolean,
    fill: (
      own: (kind: string, directory: string) => Promise<FileHandle>,
      share: (file: FileHandle) => Promise<void>,
    ) => Promise<void>,
  ): Promise<SessionFiles> {
    const handles: FileHandle[] = [];
    try {
      await fill(
        async (kind, directory) => {
          const handle = await openNameless(directory, kind);
          handles.push(handle);
          return handle;
        },
        async (file) => {
          handles.push(await openAgain(file));
        },
      );
      return new SessionFiles(tape, handles, leaves);
    } catch (error) {
      await Promise.all(handles.map((handle) => handle.close()));
      throw error;
    }
  }

  /** The file descriptors that QEMU is to inherit. */
  get descriptors(): readonly number[] {
    return this.handles.map(({ fd }) => fd);
  }

  /**
   * The tape's machine on these files.
   *
   * @param channels how many channels the QEMU inherits; they come before these files
   */
  plan(channels: number): { machine: Machine; plan: Pick<RunPlan, "ram" | "stateImage" | "disks"> } {
    const path = (index: number) => inheritedFile(channels, index);
    const disks = this.tape.machine.disks.map(({ file, format }, i) => ({
      file: path(2 + i),
      format: "qcow2" as const,
      backing: { file, format },
    }));
    const access = this.sources ? "shared" : "private";
    return {
      machine: { ...this.tape.machine, disks },
      plan: {
        ram: { path: path(0), access },
        stateImage: path(1),
        disks: this.sources ? "written" : "untouched",
      },
    };
  }

  /**
   * Writes the checkpoint's RAM again where a starting QEMU has overwritten it, at its reset, with images of ROMs.
   *
   * @param pid the QEMU, stopped
   */
  async restoreRam(pid: number, ranges: readonly PhysicalRange[]): Promise<void> {
    const { origin } = this;
    if (!origin || ranges.length === 0) return;
    await using ram = await GuestRam.open(pid, "write");
    const block = Buffer.allocUnsafe(1 << 20);
    for (const { address, bytes } of ranges) {
      const end = Math.min(address + bytes, ram.bytes);
      for (let at = address; at < end; ) {
        const { bytesRead } = await origin.read(block, 0, Math.min(block.length, end - at), at);
        if (bytesRead === 0) break;
        await ram.write(block.subarray(0, bytesRead), at);
        at += bytesRead;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.handles, this.origin].map((handle) => handle?.close()));
  }
}

/** The files that a session's QEMU writes. */
export interface CheckpointSources {
  readonly ram: FileHandle;
  readonly state: FileHandle;
  readonly disks: readonly FileHandle[];
}

/** Opens a new file and removes its name at once, so that it ends with the last process that has it open. */
async function openNameless(directory: string, kind: string): Promise<FileHandle> {
  const path = join(directory, `vmtape-session-${randomBytes(8).toString("hex")}.${kind}`);
  try {
    const handle = await open(path, "wx+", 0o600);
    await unlink(path);
    return handle;
  } catch (error) {
    throw fileError(error, path, "writing");
  }
}

/** Opens the same file once more, for an owner that closes it at another time. */
function openAgain(file: FileHandle): Promise<FileHandle> {
  return open(`/proc/self/fd/${file.fd}`, "r");
}

async function put(file: FileHandle, bytes: Uint8Array): Promise<void> {
  await file.writeFile(bytes);
}

/** A directory in memory with room for the machine's RAM, or else on disk. */
async function roomyDirectory(tape: Tape): Promise<string> {
  const free = await statfs(memoryDirectory).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return free > tape.machine.memoryMB * 2 ** 20 + spareMemory ? memoryDirectory : tmpdir();
}

/** The size of a disk as the guest sees it. */
async function sizeOf({ file, format }: MachineDisk): Promise<bigint> {
  if (format === "raw") return (await stat(file, { bigint: true })).size;
  return decodeQcow2Head(await readHead(file, qcow2HeadBytes, noLinks), file).virtualBytes;
}
