import { constants } from "node:fs";
import { type FileHandle, lstat, open } from "node:fs/promises";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { requireRegular } from "../base/regular-file.js";

/**
 * The function of `fs-native-extensions` (open-file-description locks) that is used here; the package has no types.
 */
interface NativeLocks {
  tryLock(fd: number, offset?: number, length?: number, options?: { shared?: boolean }): boolean;
}

const loadLocks = (): NativeLocks => createRequire(import.meta.url)("fs-native-extensions") as NativeLocks;

const attempts = 5;
const attemptMs = 20;
const openFlags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Throws when there is something else than a regular file at a lock's path: opening a device may do anything. */
async function requireLockable(path: string): Promise<void> {
  const facts = await lstat(path).catch((error) => {
    if (errnoOf(error) !== "ENOENT") throw error;
  });
  if (facts) requireRegular(facts, path);
}

/** Is the open file still the one that has this path? */
async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  const [held, named] = await Promise.all([
    handle.stat({ bigint: true }),
    lstat(path, { bigint: true }).catch(() => undefined),
  ]);
  return named !== undefined && held.dev === named.dev && held.ino === named.ino;
}

/**
 * A kernel lock on a file: it ends with the process that holds it, so a killed writer leaves no stale lock.
 */
export class FileLock implements AsyncDisposable {
  private readonly handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.handle = handle;
  }

  /**
   * Takes the lock, and makes its file when there is none. Undefined when it is held already. A symbolic link in its
   * place is refused.
   */
  static async tryTake(path: string): Promise<FileLock | undefined> {
    for (;;) {
      let handle: FileHandle;
      try {
        await requireLockable(path);
        handle = await open(path, openFlags | constants.O_CREAT, 0o600);
      } catch (error) {
        throw fileError(error, path, "locking");
      }
      if (!loadLocks().tryLock(handle.fd)) {
        await handle.close();
        return undefined;
      }
      if (await isAt(handle, path)) return new FileLock(handle);
      // The former holder has removed the file with its tape, so this lock protects nothing.
      await handle.close();
    }
  }

  /**
   * Takes the lock.
   *
   * @throws `tape-busy` with the message `busy` when it is held already
   */
  static async take(path: string, busy: string): Promise<FileLock> {
    // Tried several times, since `isHeld` in another process holds the lock for a moment.
    for (let attempt = 0; attempt < attempts; attempt++) {
      const lock = await FileLock.tryTake(path);
      if (lock) return lock;
      await delay(attemptMs);
    }
    throw new VmtapeError("tape-busy", busy, { file: path });
  }

  /** The descriptor that carries the lock: a child process that inherits it holds the lock, too. */
  get fd(): number {
    return this.handle.fd;
  }

  /** Is the lock held now? False when its file does not exist. Does not make the file. */
  static async isHeld(path: string): Promise<boolean> {
    let handle: FileHandle;
    try {
      await requireLockable(path);
      handle = await open(path, openFlags);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return false;
      if (errnoOf(error) === "EACCES" || errnoOf(error) === "EROFS") return false;
      throw fileError(error, path, "reading");
    }
    try {
      return !loadLocks().tryLock(handle.fd);
    } finally {
      await handle.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }
}
