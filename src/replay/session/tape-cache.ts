import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import type { Manifest } from "../../formats/manifest.js";
import { builtGuard } from "../../qemu/plugin-build.js";
import { type Places, tapeDirectory, tapeNames } from "../../tape/home.js";
import { readTapeManifest, type Tape } from "../../tape/tape.js";
import type { SessionOptions } from "./session.js";

/** Hexadecimal digits of a hash in a cache's name: 128 bits. */
const keyDigits = 32;

/**
 * The directory of all that was derived from a tape: its index, checkpoints, the place of its kernel, modules. It can
 * be deleted at any time.
 *
 * It is in the user's cache, not in the tape: tapes may come from strangers, and QEMU loads checkpoints. The key is
 * the log's hash and that of everything else a replay depends on: the machine with the hashes of its kernel, initrd,
 * firmware and disks, the build of QEMU, and where the tape ends. So a copy of a tape shares the cache, a repaired
 * one does not, and a manifest whose machine was changed never loads another machine's checkpoint.
 */
export function tapeCache(places: Places, tape: Tape): string {
  return join(cachesOf(places), cacheName(tape.manifest));
}

function cachesOf(places: Places): string {
  return join(places.cache, "tapes");
}

/** `LOG-REPLAY`: the log's hash, and the hash of everything else that a replay depends on. */
function cacheName(manifest: Manifest): string {
  const { machine, qemu, end } = manifest;
  if (!end) throw new VmtapeError("tape-unfinished", "an unfinished tape has no cache");
  const { version, sha256 } = qemu;
  const replay = canonical({ machine, qemu: { version, sha256 }, end: end.icount, log: end.log.sha256 });
  const digest = createHash("sha256").update(replay).digest("hex");
  return `${logKey(end.log.sha256)}-${digest.slice(0, keyDigits)}`;
}

const logKey = (sha256: string) => sha256.slice(0, keyDigits);

/** JSON with the members of each object sorted, so that manifests with the same content give the same text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/**
 * Removes the caches of a tape that is being destroyed, unless another tape of the home shares them. These include
 * caches that were made under another manifest of the tape, or by an earlier vmtape.
 *
 * @param directory the tape's
 */
export async function dropTapeCache(places: Places, manifest: Manifest, directory: string): Promise<void> {
  if (!manifest.end) return;
  const own = logKey(manifest.end.log.sha256);
  const used = new Set<string>();
  for (const name of await tapeNames(places)) {
    const other = tapeDirectory(places, name);
    if (other === directory) continue;
    const kept = await readTapeManifest(other).catch(() => undefined);
    if (kept?.end) used.add(cacheName(kept));
  }
  const caches = await readdir(cachesOf(places)).catch(() => [] as string[]);
  for (const name of caches) {
    const isOwn = name === own || name.startsWith(`${own}-`);
    if (isOwn && !used.has(name)) await rm(join(cachesOf(places), name), { recursive: true, force: true });
  }
}

/** The session option `guard` for a tape with this cache; empty where no guard was built. */
export async function guardFor(tape: Tape, cache: string): Promise<Pick<SessionOptions, "guard">> {
  const cacheDir = dirname(dirname(cache));
  const guard = await builtGuard({ cacheDir, qemuVersion: tape.manifest.qemu.version });
  return guard === undefined ? {} : { guard };
}
