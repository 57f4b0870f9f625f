import { type FileHandle, open } from "node:fs/promises";
import { createRequire } from "node:module";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";

/** The part of `fs-native-extensions` (open-file-description locks) that is used here; it ships no types. */
interface NativeLocks {
  tryLock(fd: number, offset?: number, length?: number, options?: { shared?: boolean }): boolean;
}

const loadLocks = (): NativeLocks => createRequire(import.meta.url)("fs-native-extensions") as NativeLocks;

/**
 * A kernel lock on a file: it ends with the process that holds it, so a killed writer leaves no stale lock.
 */
export class FileLock implements AsyncDisposable {
  private readonly handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.handle = handle;
  }

  /** Takes the lock, making the file when needed; undefined when somebody holds it. */
  static async tryTake(path: string): Promise<FileLock | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, "a+", 0o600);
    } catch (error) {
      throw fileError(error, path, "locking");
    }
    if (loadLocks().tryLock(handle.fd)) return new FileLock(handle);
    await handle.close();
    return undefined;
  }

  /**
   * Takes the lock.
   *
   * @throws `tape-busy` with this message when somebody holds it
   */
  static async take(path: string, busy: string): Promise<FileLock> {
    const lock = await FileLock.tryTake(path);
    if (!lock) throw new VmtapeError("tape-busy", busy, { file: path });
    return lock;
  }

  /** The descriptor that carries the lock: a child that inherits it holds the lock, too. */
  get fd(): number {
    return this.handle.fd;
  }

  /** Is it held now? False when the file does not exist. Does not make the file. */
  static async isHeld(path: string): Promise<boolean> {
    let handle: FileHandle;
    try {
      handle = await open(path, "r+");
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
