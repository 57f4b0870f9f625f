import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Replaces a file so that a reader sees the old one or the new one, never a part. Makes its directory when needed.
 * The old file is not opened: a FIFO of that name could make the program wait.
 *
 * @throws the file system's errors; no temporary file is left then
 */
export async function replaceFile(path: string, contents: string | Uint8Array): Promise<void> {
  const draft = draftOf(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(draft, contents, { flag: "wx", mode: 0o600 });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {});
    throw error;
  }
}

/** {@link replaceFile}, synchronous. */
export function replaceFileSync(path: string, contents: string | Uint8Array): void {
  const draft = draftOf(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(draft, contents, { flag: "wx", mode: 0o600 });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function draftOf(path: string): string {
  return `${path}.${randomBytes(6).toString("hex")}`;
}
