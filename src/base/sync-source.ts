import { closeSync, fstatSync, readSync } from "node:fs";
import { fileError, VmtapeError } from "./errors.js";
import { openRegularSync, type RegularOptions } from "./regular-file.js";

/**
 * Positional reads from a file that may be too large for memory, or from an array. Unlike `ByteSource` it is
 * synchronous, since a reader of symbols follows thousands of small structures from one to the next.
 */
export interface SyncSource {
  /** The name used in errors. */
  readonly name: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * The bytes `[offset, offset + length)`; a view or a copy, not to be written to.
   *
   * @throws VmtapeError `bad-file` when the range leaves the source
   */
  read(offset: number, length: number): Uint8Array;
}

/** An array as a source; `read` gives views. */
export function syncBytes(bytes: Uint8Array, name = "input"): SyncSource {
  return {
    name,
    size: bytes.length,
    read(offset, length) {
      checkRange(name, bytes.length, offset, length);
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** A file opened for positional reads; `close` it. */
export interface SyncFile extends SyncSource {
  close(): void;
}

/** @throws VmtapeError as `openRegular` */
export function openSyncFile(file: string, options?: RegularOptions): SyncFile {
  const descriptor = openRegularSync(file, options);
  try {
    const { size } = fstatSync(descriptor);
    return {
      name: file,
      size,
      read(offset, length) {
        checkRange(file, size, offset, length);
        const bytes = new Uint8Array(length);
        for (let done = 0; done < length; ) {
          const count = readSync(descriptor, bytes, done, length - done, offset + done);
          if (count === 0) throw cut(file, size, offset, length);
          done += count;
        }
        return bytes;
      },
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw fileError(error, file, "reading");
  }
}

/** Opens a file, gives it to `use`, and closes it afterwards, also when `use` throws. */
export function withSyncFile<T>(file: string, use: (source: SyncSource) => T, options?: RegularOptions): T {
  const source = openSyncFile(file, options);
  try {
    return use(source);
  } catch (error) {
    throw fileError(error, file, "reading");
  } finally {
    source.close();
  }
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!fits || offset + length > size) throw cut(name, size, offset, length);
}

function cut(file: string, size: number, offset: number, length: number): VmtapeError {
  return new VmtapeError(
    "bad-file",
    `${file} ends at byte ${size}, but ${length} bytes were expected at ${offset}`,
    { file, offset, length: size },
  );
}
