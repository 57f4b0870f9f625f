import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, fileError } from "../../base/errors.js";
import { copySparse, hashSparse, type PageMap } from "../../base/sparse-file.js";
import type { Brctr, Icount } from "../../base/units.js";
import {
  type CheckpointFacts,
  encodeCheckpointFacts,
  type StoredContent,
} from "../../formats/checkpoint-facts.js";
import type { QemuBuild } from "../../qemu/build.js";
import { FileLock } from "../../tape/lock.js";
import {
  buildKey,
  type Checkpoint,
  checkpointHome,
  checkpointsRoot,
  describeCheckpoint,
  factsName,
  listCheckpoints,
  readFacts,
  removeCheckpoint,
} from "./checkpoint.js";
import { contentNames, look, sectorBytes } from "./checkpoint-files.js";
import type { CheckpointSources } from "./session-files.js";

/** The instant of a checkpoint. */
export interface CheckpointInstant {
  readonly icount: Icount;
  readonly brctr?: Brctr;
  readonly delivered?: bigint;
  readonly rep?: bigint;
}

/**
 * A directory of a checkpoint in the making is named by this and random digits. Its maker holds a lock file of the
 * same name with `.lock` added.
 */
const making = "making-";
const lockEnding = ".lock";

/**
 * A checkpoint in the making. Its directory appears in the cache complete or not at all. What a killed maker leaves
 * is recognised by its lock, which nobody holds any more (`sweepCheckpoints`).
 */
export class CheckpointDraft implements AsyncDisposable {
  private readonly home: string;
  private readonly directory: string;
  private readonly lock: FileLock;
  private readonly handles: FileHandle[] = [];
  private names: readonly string[] = [];
  private map: PageMap | undefined;

  private constructor(home: string, directory: string, lock: FileLock) {
    this.home = home;
    this.directory = directory;
    this.lock = lock;
  }

  /** @throws `not-writable`, `disk-full` */
  static async begin(cache: string, build: QemuBuild): Promise<CheckpointDraft> {
    const home = checkpointHome(cache, build);
    const directory = join(home, making + randomBytes(6).toString("hex"));
    try {
      await mkdir(home, { recursive: true, mode: 0o700 });
      const lock = await FileLock.take(directory + lockEnding, "a random name was taken twice");
      await mkdir(directory, { mode: 0o700 });
      return new CheckpointDraft(home, directory, lock);
    } catch (error) {
      throw fileError(error, directory, "writing");
    }
  }

  /**
   * Copies the stopped machine's files, into which a snapshot has just been saved. When it has returned, the machine
   * may go on. Cost: 2 GB/s of what the guest's RAM holds.
   *
   * @returns bytes on disk
   */
  async copy({ ram, state, disks }: CheckpointSources): Promise<number> {
    this.names = contentNames(disks.length);
    try {
      for (const name of this.names) this.handles.push(await open(join(this.directory, name), "wx+", 0o600));
      const [ramCopy, mapCopy, ...others] = this.handles as [FileHandle, FileHandle, ...FileHandle[]];
      this.map = await copySparse(ram, ramCopy);
      await mapCopy.writeFile(this.map);
      for (const [i, source] of [state, ...disks].entries()) await copySparse(source, others[i]!);
      return await this.bytesOnDisk();
    } catch (error) {
      throw fileError(error, this.directory, "writing");
    }
  }

  /**
   * Hashes the copies and publishes the checkpoint in the cache, unless there is one of the same icount.
   *
   * @throws `disk-full`; `bad-file` when the cache was removed meanwhile
   */
  async finish(at: CheckpointInstant, build: QemuBuild): Promise<Checkpoint> {
    const target = join(this.home, String(at.icount));
    try {
      const files: Record<string, StoredContent> = {};
      for (const [i, name] of this.names.entries()) {
        const file = this.handles[i]!;
        const { size } = await file.stat();
        files[name] = { bytes: size, sha256: await hashSparse(file, i === 0 ? this.map : undefined) };
      }
      const facts: CheckpointFacts = {
        icount: Number(at.icount),
        ...(at.brctr !== undefined && { brctr: Number(at.brctr) }),
        delivered: Number(at.delivered ?? 0n),
        rep: Number(at.rep ?? 0n),
        build: build.sha256,
        made: Date.now(),
        stored: await this.bytesOnDisk(),
        files,
        seen: await look(this.names, this.handles),
      };
      await writeFile(join(this.directory, factsName), encodeCheckpointFacts(facts), {
        flag: "wx",
        mode: 0o600,
      });
      return await this.publish(target, facts);
    } catch (error) {
      throw fileError(error, target, "writing");
    }
  }

  private async bytesOnDisk(): Promise<number> {
    const stats = await Promise.all(this.handles.map((file) => file.stat()));
    return stats.reduce((sum, { blocks }) => sum + blocks * sectorBytes, 0);
  }

  private async publish(target: string, facts: CheckpointFacts): Promise<Checkpoint> {
    for (;;) {
      try {
        await rename(this.directory, target);
        return describeCheckpoint(target, facts);
      } catch (error) {
        if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
        const there = await readFacts(target);
        // A checkpoint without a branch count is replaced by one that has it.
        if (there?.build === facts.build && (there.brctr !== undefined || facts.brctr === undefined)) {
          return describeCheckpoint(target, there);
        }
        await removeCheckpoint(target);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.handles.map((handle) => handle.close()));
    await rm(this.directory, { recursive: true, force: true }).catch(() => {});
    await rm(this.directory + lockEnding, { force: true }).catch(() => {});
    await this.lock[Symbol.asyncDispose]();
  }
}

/**
 * Removes what killed processes left half made or half removed, checkpoints of other versions of the format, and
 * those of other builds of QEMU, since only the tape's own build can replay it. Other processes may make, use and
 * sweep checkpoints at the same time.
 */
export async function sweepCheckpoints(cache: string, build: Pick<QemuBuild, "sha256">): Promise<void> {
  const root = checkpointsRoot(cache);
  for (const name of await readdir(root).catch(() => [] as string[])) {
    if (name !== buildKey(build)) await removeCheckpoint(join(root, name));
    if (name.includes(".gone-")) await removeAll(join(root, name));
  }
  const home = checkpointHome(cache, build);
  const known = new Set((await listCheckpoints(cache, build)).map(({ directory }) => directory));
  const names = await readdir(home).catch(() => [] as string[]);
  for (const name of names) {
    const path = join(home, name);
    if (name.includes(".gone-")) await removeAll(path);
    else if (name.startsWith(making))
      await sweepDraft(path.endsWith(lockEnding) ? path.slice(0, -lockEnding.length) : path);
    else if (!known.has(path) && !(await readFacts(path))) await removeCheckpoint(path);
  }
}

/** Removes a draft whose maker is no longer running. */
async function sweepDraft(directory: string): Promise<void> {
  const lock = directory + lockEnding;
  // A maker takes its lock before it makes the directory, so a free lock means that it has ended.
  const held = await FileLock.tryTake(lock).catch(() => undefined);
  if (!held) return;
  await using _held = held;
  await removeAll(directory);
  await removeAll(lock);
}

async function removeAll(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => {});
}
