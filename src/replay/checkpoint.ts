import {
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  statfs,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileError, VmtapeError } from "../base/errors.js";
import { runTool } from "../base/tool.js";
import { type Brctr, brctr, type Icount, icount } from "../base/units.js";
import { installQemu, type QemuBuild } from "../qemu/build.js";
import type { Machine, RunPlan } from "../qemu/machine.js";
import { GuestRam, ramFileName } from "../qemu/ram.js";
import { snapshotTag } from "../qemu/snapshot.js";
import type { Tape } from "../tape/tape.js";

/**
 * A machine's state at an instant, from which a replay can start. A cache: it is never needed, and worthless to
 * another build of QEMU. Its directory:
 *
 *     checkpoint.json     icount, and brctr where it is known
 *     state.qcow2         the devices, as a snapshot in an empty image
 *     guest-ram           the RAM, a sparse file; sessions map it copy-on-write, so starting reads none of it
 *     disk-N.qcow2        what the guest had written to disk N by then
 */
export interface Checkpoint {
  readonly icount: Icount;
  readonly brctr?: Brctr;
  readonly directory: string;
}

const stateName = "state.qcow2";
const factsName = "checkpoint.json";
const diskName = (index: number) => `disk-${index}.qcow2`;

/** Where a tape's checkpoints for this build of QEMU lie, in its cache (`tapeCache`). */
function checkpointHome(cache: string, build: QemuBuild): string {
  return join(cache, "checkpoints", build.sha256.slice(0, 16));
}

/** All whole checkpoints in a tape's cache, in order. Damaged ones and half-made ones are not among them. */
export async function listCheckpoints(cache: string, build: QemuBuild): Promise<Checkpoint[]> {
  const home = checkpointHome(cache, build);
  const names = await readdir(home).catch(() => [] as string[]);
  const found = await Promise.all(
    names.filter((name) => /^\d{1,16}$/.test(name)).map((name) => read(join(home, name))),
  );
  return found.filter((one) => one !== undefined).sort((a, b) => (a.icount < b.icount ? -1 : 1));
}

async function read(directory: string): Promise<Checkpoint | undefined> {
  try {
    const facts = JSON.parse(await readFile(join(directory, factsName), "utf8")) as {
      icount: number;
      brctr?: number;
    };
    if (String(facts.icount) !== basename(directory)) return undefined;
    const branches = facts.brctr === undefined ? {} : { brctr: brctr(facts.brctr) };
    return { icount: icount(facts.icount), ...branches, directory };
  } catch {
    return undefined;
  }
}

/** Files of one session: images its QEMU opens. They are unlinked as soon as it has, so nothing can be left over. */
export class SessionFiles implements AsyncDisposable {
  readonly machine: Machine;
  readonly plan: Pick<RunPlan, "ram" | "stateImage" | "disks">;
  private readonly directories: readonly string[];

  private constructor(machine: Machine, plan: SessionFiles["plan"], directories: readonly string[]) {
    this.machine = machine;
    this.plan = plan;
    this.directories = directories;
  }

  /** Files for a session from the tape's beginning that is to leave checkpoints. */
  static async fresh(tape: Tape): Promise<SessionFiles> {
    return SessionFiles.make(tape, async (fast, slow) => {
      await emptyImage(join(fast, stateName));
      for (const [i, disk] of tape.machine.disks.entries()) {
        await overlay(join(slow, diskName(i)), disk.file, disk.format);
      }
      return { path: join(fast, ramFileName), access: "shared" as const };
    });
  }

  /** Files for a session from `checkpoint`; RAM and disks are shared with all others from there. */
  static async from(tape: Tape, checkpoint: Checkpoint): Promise<SessionFiles> {
    return SessionFiles.make(tape, async (fast, slow) => {
      await copyFile(join(checkpoint.directory, stateName), join(fast, stateName));
      for (const i of tape.machine.disks.keys()) {
        await overlay(join(slow, diskName(i)), join(checkpoint.directory, diskName(i)), "qcow2");
        await qemuImg("snapshot", "-c", snapshotTag, join(slow, diskName(i)));
      }
      return { path: join(checkpoint.directory, ramFileName), access: "private" as const };
    });
  }

  private static async make(
    tape: Tape,
    fill: (fast: string, slow: string) => Promise<{ path: string; access: "shared" | "private" }>,
  ): Promise<SessionFiles> {
    const { machine } = tape;
    const fast = await makeScratch(await roomyMemory(machine.memoryMB));
    const slow = machine.disks.length > 0 ? await makeScratch(tmpdir()) : fast;
    const directories = [...new Set([fast, slow])];
    try {
      const ram = await fill(fast, slow);
      const disks = machine.disks.map((_, i) => ({
        file: join(slow, diskName(i)),
        format: "qcow2" as const,
      }));
      return new SessionFiles(
        { ...machine, disks },
        { ram, stateImage: join(fast, stateName), disks: "written" },
        directories,
      );
    } catch (error) {
      await Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true })));
      throw fileError(error, fast, "writing");
    }
  }

  /** Unlinks them. QEMU goes on with what it has open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.directories.map((directory) => rm(directory, { recursive: true, force: true })));
  }
}

/**
 * Writes the files of a checkpoint: they appear in the cache together or not at all.
 *
 * @param pid the stopped QEMU, whose snapshot has just been saved into its images
 */
export async function storeCheckpoint(
  tape: Tape,
  cache: string,
  build: QemuBuild,
  pid: number,
  at: { readonly icount: Icount; readonly brctr?: Brctr },
): Promise<Checkpoint> {
  const home = checkpointHome(cache, build);
  const directory = join(home, String(at.icount));
  await mkdir(home, { recursive: true });
  const half = await mkdtemp(join(home, "new-"));
  try {
    await copyRam(pid, join(half, ramFileName));
    await copyOpenImage(pid, stateName, join(half, stateName));
    for (const i of tape.machine.disks.keys()) await copyOpenImage(pid, diskName(i), join(half, diskName(i)));
    const branches = at.brctr === undefined ? {} : { brctr: Number(at.brctr) };
    await writeFile(join(half, factsName), JSON.stringify({ icount: Number(at.icount), ...branches }));
    await rm(directory, { recursive: true, force: true });
    await rename(half, directory);
    return { ...at, directory };
  } catch (error) {
    await rm(half, { recursive: true, force: true });
    throw fileError(error, directory, "writing");
  }
}

async function copyRam(pid: number, target: string): Promise<void> {
  await using ram = await GuestRam.open(pid);
  await using file = await open(target, "wx");
  const block = Buffer.allocUnsafe(1 << 20);
  const pageBytes = 4096;
  const zeroPage = Buffer.alloc(pageBytes);
  for (let at = 0; at < ram.bytes; ) {
    const length = await ram.read(block, at);
    if (length === 0) break;
    // Pages of zeros stay holes; runs of others are written in one go.
    for (let from = 0; from < length; ) {
      let to = from;
      while (to < length && !block.subarray(to, to + pageBytes).equals(zeroPage)) to += pageBytes;
      if (to > from) await file.write(block, from, to - from, at + from);
      from = to + pageBytes;
    }
    at += length;
  }
  await file.truncate(ram.bytes);
}

/** Copies an image that QEMU has open under this name, though it has been unlinked. */
async function copyOpenImage(pid: number, name: string, target: string): Promise<void> {
  const directory = `/proc/${pid}/fd`;
  for (const fd of await readdir(directory)) {
    const open = await readlink(`${directory}/${fd}`).catch(() => "");
    if (basename(open.replace(/ \(deleted\)$/, "")) !== name) continue;
    return copyFile(`${directory}/${fd}`, target);
  }
  throw new VmtapeError("qemu-failed", `QEMU has no image ${name} open`, { pid });
}

async function makeScratch(parent: string): Promise<string> {
  return mkdtemp(join(parent, "vmtape-session-"));
}

/** A directory in memory with room for a machine's RAM, or else on disk. */
async function roomyMemory(memoryMB: number): Promise<string> {
  const shm = "/dev/shm";
  const free = await statfs(shm).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return free > (memoryMB + 64) * 2 ** 20 ? shm : tmpdir();
}

async function emptyImage(path: string): Promise<void> {
  await qemuImg("create", "-q", "-f", "qcow2", path, "1M");
}

async function overlay(path: string, backing: string, format: "raw" | "qcow2"): Promise<void> {
  await qemuImg("create", "-q", "-f", "qcow2", "-F", format, "-b", backing, path);
}

async function qemuImg(...args: string[]): Promise<void> {
  await runTool("qemu-img", args, { mend: installQemu });
}
