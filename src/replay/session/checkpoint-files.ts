import { randomUUID } from "node:crypto";
import { type FileHandle, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isVmtapeError } from "../../base/errors.js";
import { noLinks, openRegular } from "../../base/regular-file.js";
import { hashSparse, mapBytes, type PageMap } from "../../base/sparse-file.js";
import {
  type CheckpointFacts,
  encodeCheckpointFacts,
  type SeenFiles,
} from "../../formats/checkpoint-facts.js";
import { ramFileName } from "../../qemu/ram.js";
import {
  type Checkpoint,
  diskName,
  factsName,
  isLostCheckpoint,
  lostCheckpoint,
  mapName,
  readFacts,
  removeCheckpoint,
  stateName,
} from "./checkpoint.js";

/** Of a terabyte of RAM. */
const longestMap = 32 << 20;
/** Unit of a file's `blocks`. */
export const sectorBytes = 512;

/**
 * The files of a checkpoint, open for reading and known to be whole. They stay as they are, whoever removes or
 * replaces the checkpoint meanwhile.
 *
 * Files are known to be whole by the kernel's stamps (inode, times of change): nothing writes a file without moving
 * them. When a stamp has moved, and after each start of the host, since a crash may lose what was written, the
 * files are hashed once and their stamps noted again.
 */
export class CheckpointFiles implements AsyncDisposable {
  readonly ram: FileHandle;
  readonly state: FileHandle;
  readonly disks: readonly FileHandle[];
  private readonly map: FileHandle;

  private constructor(handles: readonly FileHandle[]) {
    const [ram, map, state, ...disks] = handles as [FileHandle, FileHandle, FileHandle, ...FileHandle[]];
    this.ram = ram;
    this.map = map;
    this.state = state;
    this.disks = disks;
  }

  /**
   * Cost: 0.5 ms; about 0.1 s once for each start of the host.
   *
   * @param options.thorough hash the files, whatever their stamps say
   * @throws `bad-file` (`isLostCheckpoint`) when it is gone or damaged; it has then been removed
   */
  static async open(
    checkpoint: Checkpoint,
    disks: number,
    options: { readonly thorough?: boolean } = {},
  ): Promise<CheckpointFiles> {
    const { directory } = checkpoint;
    const facts = await readFacts(directory);
    const names = contentNames(disks);
    const handles: FileHandle[] = [];
    try {
      if (!facts) throw lostCheckpoint(checkpoint, "is gone, or its facts are damaged");
      for (const name of names) handles.push(await openContent(checkpoint, name));
      const seen = await look(names, handles);
      if (options.thorough || !isSame(seen, facts.seen))
        await requireWhole(checkpoint, facts, names, handles);
      if (!isSame(seen, facts.seen)) await noteSeen(directory, { ...facts, seen });
      return new CheckpointFiles(handles);
    } catch (error) {
      await Promise.all(handles.map((handle) => handle.close()));
      if (isLostCheckpoint(error)) await removeCheckpoint(directory);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.ram, this.map, this.state, ...this.disks].map((handle) => handle.close()));
  }

  /** Which pages of the RAM are not zero. */
  ramPages(): Promise<PageMap> {
    return readMap(this.map);
  }
}

/** Names of the files whose content is checked, in the order they are opened. */
export function contentNames(disks: number): string[] {
  return [ramFileName, mapName, stateName, ...Array.from({ length: disks }, (_, i) => diskName(i))];
}

async function openContent(checkpoint: Checkpoint, name: string): Promise<FileHandle> {
  try {
    return await openRegular(join(checkpoint.directory, name), noLinks);
  } catch (error) {
    // Gone, or something else in its place.
    if (isVmtapeError(error, "bad-file")) throw lostCheckpoint(checkpoint, `has no ${name}`);
    throw error;
  }
}

async function requireWhole(
  checkpoint: Checkpoint,
  facts: CheckpointFacts,
  names: readonly string[],
  handles: readonly FileHandle[],
): Promise<void> {
  for (const [i, name] of names.entries()) {
    const file = handles[i]!;
    const wanted = facts.files[name];
    const { size, blocks } = await file.stat();
    // More on disk than was stored: there may be something in the holes.
    const map =
      name === ramFileName && blocks * sectorBytes <= facts.stored ? await readMap(handles[1]!) : undefined;
    const isRight = wanted?.bytes === size && (!map || map.length === mapBytes(size));
    if (!isRight || wanted.sha256 !== (await hashSparse(file, map))) {
      throw lostCheckpoint(checkpoint, `is damaged: ${name} is not what was stored`);
    }
  }
}

async function readMap(file: FileHandle): Promise<PageMap> {
  const { size } = await file.stat();
  const map = new Uint8Array(Math.min(size, longestMap));
  await file.read(map, 0, map.length, 0);
  return map;
}

/** What the kernel says of the open files now. */
export async function look(names: readonly string[], handles: readonly FileHandle[]): Promise<SeenFiles> {
  const stamps: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    const { ino, mtimeNs, ctimeNs } = await handles[i]!.stat({ bigint: true });
    stamps[name] = `${ino} ${mtimeNs} ${ctimeNs}`;
  }
  return { boot: await bootId(), stamps };
}

function isSame(now: SeenFiles, before: SeenFiles): boolean {
  return (
    now.boot === before.boot &&
    Object.entries(now.stamps).every(([name, stamp]) => before.stamps[name] === stamp)
  );
}

/** The facts are replaced as a whole. A cache that cannot be written is hashed again next time. */
async function noteSeen(directory: string, facts: CheckpointFacts): Promise<void> {
  const temporary = join(directory, `${factsName}.${randomUUID()}`);
  try {
    await writeFile(temporary, encodeCheckpointFacts(facts), { flag: "wx" });
    await rename(temporary, join(directory, factsName));
  } catch {
    await rm(temporary, { force: true }).catch(() => {});
  }
}

let boot: Promise<string> | undefined;

/** Tells one start of the host from another. Source: proc(5), /proc/sys/kernel/random/boot_id. */
function bootId(): Promise<string> {
  boot ??= readFile("/proc/sys/kernel/random/boot_id", "utf8").then(
    (id) => id.trim(),
    () => randomUUID(), // unknown: no file is believed by its stamps
  );
  return boot;
}
