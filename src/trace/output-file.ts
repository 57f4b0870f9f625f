import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileError } from "../base/errors.js";

/**
 * A file that appears under its name only once it is complete: it is written beside it under a temporary name,
 * and renamed by `commit`. Disposing of it before that leaves nothing behind. A name that is a pipe or a device is
 * written to directly.
 */
export class OutputFile implements AsyncDisposable {
  private written = 0;
  private done = false;

  private constructor(
    readonly path: string,
    private readonly temporary: string | undefined,
    private readonly handle: FileHandle,
  ) {}

  /**
   * @param options.inPlace write to the name itself, so that a killed writer leaves what it had written
   * @throws `not-writable`, `disk-full`, `bad-file` when the directory does not exist
   */
  static async create(path: string, options: { readonly inPlace?: boolean } = {}): Promise<OutputFile> {
    try {
      const existing = await stat(path).catch(() => undefined);
      const direct = options.inPlace || (existing && !existing.isFile());
      if (direct) return new OutputFile(path, undefined, await open(path, "w"));
      const unique = `${process.pid}.${Math.random().toString(36).slice(2, 10)}`;
      const temporary = join(dirname(path), `.${basename(path).slice(0, 200)}.${unique}.part`);
      return new OutputFile(path, temporary, await open(temporary, "wx"));
    } catch (error) {
      throw fileError(error, path, "writing");
    }
  }

  /** Bytes written. */
  get length(): number {
    return this.written;
  }

  /** Appends bytes (borrowed until it resolves). */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(bytes, at, bytes.length - at);
        at += bytesWritten;
      }
    } catch (error) {
      throw fileError(error, this.path, "writing");
    }
    this.written += bytes.length;
  }

  /** Makes the file appear. */
  async commit(): Promise<void> {
    try {
      if (this.temporary !== undefined) await this.handle.datasync();
      this.done = true;
      await this.handle.close();
      if (this.temporary !== undefined) await rename(this.temporary, this.path);
    } catch (error) {
      if (this.temporary !== undefined) await unlink(this.temporary).catch(() => {});
      throw fileError(error, this.path, "writing");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.done) return;
    this.done = true;
    await this.handle.close().catch(() => {});
    if (this.temporary !== undefined) await unlink(this.temporary).catch(() => {});
  }
}
