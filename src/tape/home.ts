import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, readdir } from "node:fs/promises";
import { homedir, tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { fileError, VmtapeError } from "../base/errors.js";
import type { Places } from "../base/run-context.js";

export type { Places } from "../base/run-context.js";

/** A socket's path has at most 107 bytes (unix(7)); vmtape's names in the runtime directory have up to 48. */
const longestRuntime = 107 - 1 - 48;

/** The directories that `env` says: by `VMTAPE_HOME`, by the XDG base directories, or their defaults. */
export function placesFrom(env: NodeJS.ProcessEnv): Places {
  const home = env.HOME || homedir();
  const data = env.XDG_DATA_HOME || join(home, ".local", "share");
  const cache = env.XDG_CACHE_HOME || join(home, ".cache");
  const own = `vmtape-${userInfo().uid}`;
  const runtime = resolve(env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, "vmtape") : join(tmpdir(), own));
  const short = join("/tmp", `${own}-${createHash("sha256").update(runtime).digest("hex").slice(0, 16)}`);
  return {
    home: resolve(env.VMTAPE_HOME || join(data, "vmtape")),
    cache: resolve(join(cache, "vmtape")),
    runtime: Buffer.byteLength(runtime) <= longestRuntime ? runtime : short,
  };
}

const goodName = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/;

/**
 * Checks a tape's name: 1 to 100 letters, digits, `.`, `_`, `+`, `-`, beginning with a letter or digit.
 *
 * @throws `bad-name`
 */
export function checkTapeName(name: string): string {
  if (!goodName.test(name)) {
    const shown = name.length > 60 ? `${name.slice(0, 57)}…` : name;
    throw new VmtapeError(
      "bad-name",
      `'${shown}' is no tape name: use 1 to 100 letters, digits, '.', '_', '+' or '-', beginning with a letter or digit`,
      { got: shown },
    );
  }
  return name;
}

/** The directory of tape `name`: `directory` when the user gave one, else its place in the home. */
export function tapeDirectory(places: Places, name: string, directory?: string): string {
  checkTapeName(name);
  return directory === undefined ? join(places.home, name) : resolve(directory);
}

/** The names of all entries of the home that may be tapes, sorted. Empty when there is no home yet. */
export async function tapeNames(places: Places): Promise<string[]> {
  const entries = await readdir(places.home, { withFileTypes: true }).catch((error) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fileError(error, places.home, "reading");
  });
  return entries
    .filter((entry) => entry.isDirectory() && goodName.test(entry.name))
    .map((entry) => entry.name)
    .sort();
}

/**
 * Makes the runtime directory, which only this user may access.
 *
 * @throws `not-writable` when another user owns the directory
 */
export async function makeRuntimeDirectory(places: Places): Promise<string> {
  try {
    await mkdir(places.runtime, { recursive: true, mode: 0o700 });
    const facts = await lstat(places.runtime);
    if (!facts.isDirectory() || facts.uid !== userInfo().uid) {
      throw new VmtapeError("not-writable", `${places.runtime} belongs to somebody else`, {
        file: places.runtime,
      });
    }
    if ((facts.mode & 0o077) !== 0) await chmod(places.runtime, 0o700);
    return places.runtime;
  } catch (error) {
    throw fileError(error, places.runtime, "making");
  }
}

/** The first part of the paths of a tape's sockets. It is short, and the same in every process. */
export function socketStem(places: Places, directory: string): string {
  return join(places.runtime, createHash("sha256").update(resolve(directory)).digest("hex").slice(0, 16));
}
