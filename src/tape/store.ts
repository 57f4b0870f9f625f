import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { fileError, VmtapeError } from "../base/errors.js";
import { noLinks, openRegular, type RegularOptions } from "../base/regular-file.js";
import { throwIfAborted } from "../base/stopping.js";
import type { StoredFile } from "../formats/manifest.js";

const blockBytes = 1 << 20;
const zeroBlock = Buffer.alloc(blockBytes);

/**
 * Copies a file into a tape and hashes it on the way. Blocks of zeros become holes, so a sparse disk stays small.
 * Copies, not hard links: a user who goes on using the image would change the tape.
 *
 * @throws `bad-file` when the source is missing, a directory, special or empty; `disk-full`; `cancelled`
 */
export async function storeFile(source: string, target: string, signal?: AbortSignal): Promise<StoredFile> {
  await using from = await owned(source);
  if ((await from.handle.stat()).size === 0)
    throw new VmtapeError("bad-file", `${source} is empty`, { file: source });
  try {
    const into = await open(target, "wx", 0o600);
    try {
      return await copy(from.handle, into, signal);
    } finally {
      await into.close();
    }
  } catch (error) {
    throw fileError(error, target, "writing");
  }
}

async function copy(from: FileHandle, into: FileHandle, signal?: AbortSignal): Promise<StoredFile> {
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(blockBytes);
  let bytes = 0;
  for (;;) {
    throwIfAborted(signal);
    const { bytesRead } = await from.read(block, 0, blockBytes, bytes);
    if (bytesRead === 0) break;
    const part = block.subarray(0, bytesRead);
    hash.update(part);
    if (!part.equals(zeroBlock.subarray(0, bytesRead))) await writeAll(into, part, bytes);
    bytes += bytesRead;
  }
  await into.truncate(bytes);
  return { bytes, sha256: hash.digest("hex") };
}

/** Writes all of `bytes` at `offset`. (A single write to a disk that fills up may write a part without an error.) */
export async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
  }
}

/** Size and SHA-256 of a file of the tape; it must be a regular file, not a link. */
export async function describeFile(path: string, signal?: AbortSignal): Promise<StoredFile> {
  await using file = await owned(path, noLinks);
  return await describe(file.handle, signal);
}

async function describe(file: FileHandle, signal?: AbortSignal): Promise<StoredFile> {
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(blockBytes);
  let bytes = 0;
  for (;;) {
    throwIfAborted(signal);
    const { bytesRead } = await file.read(block, 0, blockBytes, bytes);
    if (bytesRead === 0) return { bytes, sha256: hash.digest("hex") };
    hash.update(block.subarray(0, bytesRead));
    bytes += bytesRead;
  }
}

/**
 * Checks that a file of a tape has the size and hash that its manifest says.
 *
 * @throws `changed` with what differs; `bad-file` when it is missing
 */
export async function checkStored(path: string, expected: StoredFile, signal?: AbortSignal): Promise<void> {
  await using file = await owned(path, noLinks);
  const { size } = await file.handle.stat(); // checked first, so that nothing is hashed in vain
  if (size !== expected.bytes) {
    throw new VmtapeError("changed", `${path} has ${size} bytes, but ${expected.bytes} were recorded`, {
      file: path,
      expected: String(expected.bytes),
      got: String(size),
    });
  }
  const got = await describe(file.handle, signal);
  if (got.sha256 !== expected.sha256) {
    throw new VmtapeError("changed", `${path} is not the file that was recorded: its SHA-256 differs`, {
      file: path,
      expected: expected.sha256,
      got: got.sha256,
    });
  }
}

/** The first `length` bytes of a regular file (fewer when it is shorter). */
export async function readHead(path: string, length: number, options?: RegularOptions): Promise<Uint8Array> {
  await using file = await owned(path, options);
  const head = Buffer.alloc(length);
  const { bytesRead } = await file.handle.read(head, 0, length, 0);
  return head.subarray(0, bytesRead);
}

async function owned(path: string, options?: RegularOptions) {
  const handle = await openRegular(path, options);
  return { handle, [Symbol.asyncDispose]: () => handle.close() };
}
