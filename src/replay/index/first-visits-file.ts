import { randomBytes } from "node:crypto";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "../../base/errors.js";
import {
  decodeFirstVisits,
  encodeFirstVisits,
  type FirstVisits,
  longestFirstVisits,
} from "../../formats/first-visits.js";
import { isGone } from "./lock.js";

/** The path of the file of first visits in a tape's cache. Only the process that is indexing the tape writes it. */
export const firstVisitsPath = (cache: string) => join(cache, "first-visits");

/** The tape's first visits; undefined when there is no file, or it is damaged. Cost: 15 ms for a boot. */
export async function readFirstVisits(cache: string): Promise<FirstVisits | undefined> {
  const path = firstVisitsPath(cache);
  const facts = await stat(path).catch(() => undefined);
  if (!facts?.isFile() || facts.size > longestFirstVisits) return undefined;
  const bytes = await readFile(path).catch(() => undefined);
  return bytes && decodeFirstVisits(bytes);
}

/** Does the file exist, damaged or not? */
export async function hasFirstVisits(cache: string): Promise<boolean> {
  return stat(firstVisitsPath(cache)).then(
    () => true,
    () => false,
  );
}

/**
 * Replaces the tape's first visits. Readers see either the old file or the new one.
 *
 * @throws `disk-full`, `not-writable`
 */
export async function writeFirstVisits(cache: string, visits: FirstVisits): Promise<void> {
  const path = firstVisitsPath(cache);
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(encodeFirstVisits(visits));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (isGone(error)) return; // the cache was removed meanwhile
    throw fileError(error, path, "writing");
  }
}

export async function removeFirstVisits(cache: string): Promise<void> {
  await rm(firstVisitsPath(cache), { force: true });
}
