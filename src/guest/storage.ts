/** Files and directories that appear complete or not at all, also when several processes write them at once. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, fileError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";

const unfinishedPrefix = ".unfinished-";
const unfinishedAfterMs = 24 * 3600 * 1000;

/**
 * Runs `work` with a temporary directory below `parent`, which is removed afterwards in every case. What a killed
 * process leaves there is removed a day later, by the next call.
 *
 * @throws VmtapeError `disk-full`, `not-writable`, and what `work` throws
 */
export async function withTemporary<T>(parent: string, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = join(parent, unfinishedPrefix + randomBytes(8).toString("hex"));
  let isMade = false;
  try {
    await mkdir(parent, { recursive: true });
    await removeAbandoned(parent);
    await mkdir(directory);
    isMade = true;
    return await work(directory);
  } catch (error) {
    throw errnoOf(error) === undefined ? error : fileError(error, parent, "writing");
  } finally {
    // When making it failed, removing would fail, too, and hide the first error.
    if (isMade) await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Makes `directory` by filling a temporary one beside it and renaming that: it appears complete or not at all. When
 * another process has made it first, that one stays.
 *
 * @throws VmtapeError `disk-full`, `not-writable`, `cancelled`, and what `fill` throws
 */
export async function makeDirectory(
  directory: string,
  fill: (unfinished: string) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  await withTemporary(dirname(directory), async (unfinished) => {
    await fill(unfinished);
    throwIfAborted(signal);
    await rename(unfinished, directory).catch((error) => {
      if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
    });
  });
}

/**
 * Writes a file under a temporary name beside it and renames it over `file`, so that it appears complete.
 *
 * @throws VmtapeError `disk-full`, `not-writable`
 */
export async function writeWhole(file: string, contents: Uint8Array | string): Promise<void> {
  const unfinished = join(dirname(file), unfinishedPrefix + randomBytes(8).toString("hex"));
  try {
    await writeFile(unfinished, contents);
    await rename(unfinished, file);
  } catch (error) {
    throw fileError(error, file, "writing");
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(unfinishedPrefix)) continue;
    const path = join(parent, name);
    const made = (await stat(path).catch(() => undefined))?.mtimeMs ?? Number.POSITIVE_INFINITY;
    if (Date.now() - made > unfinishedAfterMs) await rm(path, { recursive: true, force: true });
  }
}
