/** The user's own files in a guest: `--add SRC=DEST`. */
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileError, VmtapeError } from "../base/errors.js";
import { readRegular } from "../base/regular-file.js";
import { throwIfAborted } from "../base/stopping.js";
import type { NewcEntry } from "../formats/newc.js";

/** A file or directory of the host, and where the guest finds it. */
export interface Addition {
  readonly source: string;
  /** Absolute or not, it is below the guest's `/`; one that ends with `/` keeps the source's own name. */
  readonly destination: string;
}

/** The most bytes of all additions, because they are held in memory here and in the guest. */
const maxAdditionBytes = 1 << 30;
const executableBits = 0o111;

/**
 * Reads `SRC=DEST`, which is divided at the last `=`.
 *
 * @throws VmtapeError `usage`
 */
export function parseAddition(text: string): Addition {
  const equals = text.lastIndexOf("=");
  if (equals <= 0 || equals === text.length - 1) {
    throw new VmtapeError("usage", `${JSON.stringify(text)} is not of the form SRC=DEST`, { got: text });
  }
  return { source: text.slice(0, equals), destination: text.slice(equals + 1) };
}

/**
 * The archive entries of additions; directories are added with all that is in them. Files get the permissions 0755
 * when they are executable, and 0644 otherwise, so that the host's umask does not change the guest.
 *
 * @throws VmtapeError `bad-file` for what is not there or cannot be read, `usage` for a destination outside the guest
 *   or a source that is neither file, directory nor link, `limit-exceeded` above 1 GiB
 */
export async function readAdditions(
  additions: readonly Addition[],
  signal?: AbortSignal,
): Promise<NewcEntry[]> {
  const entries: NewcEntry[] = [];
  let bytes = 0;
  for (const addition of additions) {
    const source = resolve(addition.source);
    await add(source, guestPath(addition), true);
  }
  return entries;

  async function add(source: string, path: string, named: boolean): Promise<void> {
    throwIfAborted(signal);
    // A link the user names means its target; one found inside a directory stays a link.
    const facts = await (named ? stat(source) : lstat(source)).catch(reading(source));
    if (facts.isSymbolicLink()) {
      const target = await readlink(source).catch(reading(source));
      entries.push({ type: "symlink", path, mode: 0o777, target });
    } else if (facts.isDirectory()) {
      if (path !== "") entries.push({ type: "directory", path, mode: 0o755 });
      const names = await readdir(source).catch(reading(source));
      for (const name of names.sort())
        await add(join(source, name), path === "" ? name : `${path}/${name}`, false);
    } else if (facts.isFile()) {
      bytes += facts.size;
      if (bytes > maxAdditionBytes) {
        throw new VmtapeError("limit-exceeded", "files added to a guest may have 1 GiB in all", {
          file: source,
        });
      }
      const mode = facts.mode & executableBits ? 0o755 : 0o644;
      entries.push({ type: "file", path, mode, data: await readRegular(source) });
    } else {
      throw new VmtapeError("usage", `${source} is neither a file, a directory nor a link`, { file: source });
    }
  }
}

function reading(source: string): (error: unknown) => never {
  return (error) => {
    throw fileError(error, source, "reading");
  };
}

function guestPath({ source, destination }: Addition): string {
  const whole =
    destination.endsWith("/") && basename(source) !== "" ? destination + basename(source) : destination;
  const parts = whole.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || whole.includes("\0")) {
    throw new VmtapeError("usage", `${JSON.stringify(destination)} is not a place in the guest`, {
      got: destination,
    });
  }
  return parts.join("/");
}
