import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Puts a file in its place so that a reader sees the old one or the new one, never a part, and makes its directory when
 * needed. What has its name is not opened, whatever it is: a FIFO there must not make us wait.
 *
 * @throws the file system's errors; nothing is left over then
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

/** {@link replaceFile} that answers at once. */
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
