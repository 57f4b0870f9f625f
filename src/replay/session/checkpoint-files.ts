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

/** The longest page map in bytes, that of a terabyte of RAM. */
const longestMap = 32 << 20;
/** Unit of a file's `blocks`. */
export const sectorBytes = 512;

/**
 * The files of a checkpoint, open for reading and known to be whole. They stay readable when another process removes
 * or replaces the checkpoint meanwhile.
 *
 * That files are whole is known by their stamps (inode, times of change), which move whenever a file is written. When
 * a stamp has moved, the files are hashed and their stamps noted again; so they are once after each boot of the host,
 * since a crash may lose what was written.
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
   * Opens the files of a checkpoint. Cost: 0.5 ms; once after each boot of the host about 0.1 s.
   *
   * @param options.thorough hash the files even if their stamps have not moved
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
    // The file is gone, or something that is no file is in its place.
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
    // The file takes more blocks than when it was stored: what should be holes may have been written, so it is hashed
    // as a whole.
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

/** The present stamps of the open files. */
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

/**
 * Notes stamps: replaces the file of facts as a whole. Where the cache cannot be written, the files are hashed again
 * next time.
 */
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

/** An id that is another one after each boot of the host. Source: proc(5), /proc/sys/kernel/random/boot_id. */
function bootId(): Promise<string> {
  boot ??= readFile("/proc/sys/kernel/random/boot_id", "utf8").then(
    (id) => id.trim(),
    () => randomUUID(), // unknown: then no stamp is trusted
  );
  return boot;
}
