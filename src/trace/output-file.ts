import { constants } from "node:fs";
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, fileError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";

/** Between two looks whether a pipe has a reader, or room. */
const lookMs = 10;

/** How an output is made. */
export interface OutputOptions {
  /** Write to the name itself, so that a killed writer leaves what it had written. */
  readonly inPlace?: boolean;
  /** Ends the wait for a pipe's reader. */
  readonly signal?: AbortSignal | undefined;
}

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
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * @throws `not-writable`, `disk-full`, `bad-file` when the directory does not exist; `cancelled`
   */
  static async create(path: string, options: OutputOptions = {}): Promise<OutputFile> {
    const { inPlace, signal } = options;
    try {
      const existing = await stat(path).catch(() => undefined);
      if (existing?.isFIFO()) return new OutputFile(path, undefined, await openPipe(path, signal), signal);
      const direct = inPlace || (existing && !existing.isFile());
      if (direct) return new OutputFile(path, undefined, await open(path, "w"), signal);
      const unique = `${process.pid}.${Math.random().toString(36).slice(2, 10)}`;
      const temporary = join(dirname(path), `.${basename(path).slice(0, 200)}.${unique}.part`);
      return new OutputFile(path, temporary, await open(temporary, "wx"), signal);
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
        at += await this.writeSome(bytes, at);
      }
    } catch (error) {
      throw fileError(error, this.path, "writing");
    }
    this.written += bytes.length;
  }

  /** Waits while a pipe is full. */
  private async writeSome(bytes: Uint8Array, at: number): Promise<number> {
    for (;;) {
      try {
        return (await this.handle.write(bytes, at, bytes.length - at)).bytesWritten;
      } catch (error) {
        if (errnoOf(error) !== "EAGAIN") throw error;
      }
      throwIfAborted(this.signal);
      await delay(lookMs);
    }
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

/** Opening a pipe waits for its reader, and nothing could end the wait: so it is asked for again and again. */
async function openPipe(path: string, signal: AbortSignal | undefined): Promise<FileHandle> {
  for (;;) {
    throwIfAborted(signal);
    try {
      return await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) !== "ENXIO") throw error;
    }
    await delay(lookMs);
  }
}
