import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  type Stats,
  statSync,
} from "node:fs";
import { type FileHandle, lstat, open, rm, stat } from "node:fs/promises";
import { fileError, VmtapeError } from "./errors.js";

/** How to open a regular file. */
export interface RegularOptions {
  /**
   * What a symbolic link means. `follow` is for files that the user names. `refuse` is for files of a tape, which may
   * come from a stranger: a link in it could lead anywhere. Default: `follow`.
   */
  readonly links?: "follow" | "refuse";
  /** `write`: for reading and writing. Default: `read`. */
  readonly access?: "read" | "write";
}

/**
 * Opens a regular file, and nothing else. Opening a FIFO may wait for ever, and opening a device may do anything. So
 * the path is checked by `stat` first, and opened in a way that never waits.
 *
 * @throws VmtapeError `bad-file` when it is missing, a directory, FIFO, device, socket, or a link that is not to be
 *   followed; `not-writable`
 */
export async function openRegular(path: string, options: RegularOptions = {}): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    requireRegular(await (options.links === "refuse" ? lstat(path) : stat(path)), path);
    handle = await open(path, flagsOf(options));
    requireRegular(await handle.stat(), path); // the file may have been replaced since `stat`
    return handle;
  } catch (error) {
    await handle?.close();
    throw fileError(error, path, doing(options));
  }
}

/** {@link openRegular}, synchronous. Gives a descriptor, which the caller closes with `closeSync`. */
export function openRegularSync(path: string, options: RegularOptions = {}): number {
  let descriptor: number | undefined;
  try {
    requireRegular(options.links === "refuse" ? lstatSync(path) : statSync(path), path);
    descriptor = openSync(path, flagsOf(options));
    requireRegular(fstatSync(descriptor), path);
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw fileError(error, path, doing(options));
  }
}

/** For files of a tape and of the cache, among which there are no links. */
export const noLinks: RegularOptions = { links: "refuse" };

/** All bytes of a regular file. @throws as {@link openRegular} */
export async function readRegular(path: string, options: RegularOptions = {}): Promise<Buffer> {
  const handle = await openRegular(path, options);
  try {
    return await handle.readFile();
  } catch (error) {
    throw fileError(error, path, "reading");
  } finally {
    await handle.close();
  }
}

/** {@link readRegular}, synchronous. */
export function readRegularSync(path: string, options: RegularOptions = {}): Buffer {
  const descriptor = openRegularSync(path, options);
  try {
    return readFileSync(descriptor);
  } catch (error) {
    throw fileError(error, path, "reading");
  } finally {
    closeSync(descriptor);
  }
}

/** Removes an unfinished output file. A pipe or a device that was written to belongs to the user, and stays. */
export async function removeRegular(path: string): Promise<void> {
  const facts = await stat(path).catch(() => undefined);
  if (facts?.isFile()) await rm(path, { force: true });
}

/**
 * Throws unless this is a regular file.
 *
 * @param facts the result of `stat`, or of `lstat` where links are refused
 * @throws VmtapeError `bad-file`, whose message says what it is
 */
export function requireRegular(facts: Stats, path: string): void {
  if (facts.isFile()) return;
  if (facts.isDirectory()) throw new VmtapeError("bad-file", `${path} is a directory`, { file: path });
  throw new VmtapeError("bad-file", `${path} is not a regular file but a ${kindOf(facts)}`, { file: path });
}

/** The name of a file's kind, for one that is not regular. */
export function kindOf(facts: Stats): string {
  if (facts.isSymbolicLink()) return "symbolic link";
  if (facts.isFIFO()) return "FIFO";
  if (facts.isSocket()) return "socket";
  return facts.isDirectory() ? "directory" : "device";
}

function flagsOf({ links, access }: RegularOptions): number {
  return (
    (access === "write" ? constants.O_RDWR : constants.O_RDONLY) |
    constants.O_NONBLOCK |
    constants.O_NOCTTY |
    (links === "refuse" ? constants.O_NOFOLLOW : 0)
  );
}

function doing({ access }: RegularOptions): string {
  return access === "write" ? "writing" : "reading";
}
