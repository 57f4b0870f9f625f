import type { FileHandle } from "node:fs/promises";
import { fileError } from "./errors.js";
import { openRegular, type RegularOptions } from "./regular-file.js";

/**
 * Bytes that can be read at any offset: all that the reader of a format needs to know of its input. A reader borrows
 * the source; the code that made it closes it.
 */
export interface ByteSource {
  /** The name used in errors: a path, or a few words. */
  readonly name: string;
  /** Length in bytes when the source was made; what is appended later is not seen. */
  readonly size: number;
  /**
   * Fills `into` from `offset` as far as there are bytes.
   *
   * @returns how many bytes were put in: fewer than asked only at the end, 0 at or past it
   */
  read(offset: number, into: Uint8Array): Promise<number>;
}

/** A source over bytes in memory (borrowed). */
export function bytesSource(bytes: Uint8Array, name = "input"): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length);
      into.set(part);
      return part.length;
    },
  };
}

/** A regular file as a source; dispose of it to close it. */
export interface FileSource extends ByteSource, AsyncDisposable {}

/**
 * Opens a regular file for reading.
 *
 * @throws VmtapeError as `openRegular`
 */
export async function openFileSource(path: string, options?: RegularOptions): Promise<FileSource> {
  const handle = await openRegular(path, options);
  try {
    return fileSource(handle, path, (await handle.stat()).size);
  } catch (error) {
    await handle.close();
    throw fileError(error, path, "reading");
  }
}

function fileSource(handle: FileHandle, path: string, size: number): FileSource {
  return {
    name: path,
    size,
    async read(offset, into) {
      const wanted = Math.max(0, Math.min(into.length, size - offset));
      let filled = 0;
      while (filled < wanted) {
        const { bytesRead } = await handle
          .read(into, filled, wanted - filled, offset + filled)
          .catch((error: unknown) => Promise.reject(fileError(error, path, "reading")));
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return filled;
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
