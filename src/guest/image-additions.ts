/** The user's own files in a distribution image: `--add SRC=DEST`, as an archive to be unpacked over the new root. */
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VmtapeError } from "../base/errors.js";
import type { NewcEntry } from "../formats/newc.js";
import { lastLine, runCommand } from "./command.js";

/**
 * Writes the archive. Only empty directories are in it. So a directory that the image has keeps its permissions, and
 * a link to a directory (`/bin`) stays a link.
 *
 * @param directory an empty directory to work in
 * @returns the archive's path; undefined when nothing is added
 */
export async function additionsArchive(
  entries: readonly NewcEntry[],
  directory: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const members = archived(entries);
  if (members.length === 0) return undefined;
  const stage = join(directory, "additions");
  for (const entry of members) {
    const path = join(stage, entry.path);
    await mkdir(entry.type === "directory" ? path : dirname(path), { recursive: true });
    if (entry.type === "symlink") await symlink(entry.target, path);
    if (entry.type !== "file") continue;
    await writeFile(path, entry.data);
    await chmod(path, entry.mode);
  }
  const list = join(directory, "additions.list");
  await writeFile(list, members.map(({ path }) => `${path}\0`).join(""));
  const archive = join(directory, "additions.tar");
  const owner = ["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--no-recursion"];
  const made = await runCommand("tar", ["-c", "-f", archive, ...owner, "-C", stage, "--null", "-T", list], {
    signal,
  });
  if (made.code === 0) return archive;
  throw new VmtapeError("bad-file", `the added files could not be packed: ${lastLine(made)}`, {
    file: archive,
  });
}

/** Sorts the entries by path. Of several with the same path, the last one counts. */
export function archived(entries: readonly NewcEntry[]): NewcEntry[] {
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  const paths = [...byPath.keys()].sort();
  return paths
    .filter((path, i) => byPath.get(path)!.type !== "directory" || !paths[i + 1]?.startsWith(`${path}/`))
    .map((path) => byPath.get(path)!);
}
