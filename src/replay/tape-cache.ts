import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { builtGuard } from "../qemu/plugin-build.js";
import { type Places, tapeNames } from "../tape/home.js";
import { Tape } from "../tape/tape.js";
import type { SessionOptions } from "./session.js";

/**
 * Where what was derived from a tape is kept: checkpoints, where its kernel lies, its modules. It can be deleted at
 * any time.
 *
 * It is in the user's cache, not in the tape: tapes come from strangers, and a checkpoint is something QEMU loads.
 * The key is the log's hash, so a copy of a tape shares the cache and a repaired one does not.
 */
export function tapeCache(places: Places, tape: Tape): string {
  return join(places.cache, "tapes", tape.end.log.sha256.slice(0, 32));
}

/** Removes it, unless another tape of the home has the same log. */
export async function dropTapeCache(places: Places, tape: Tape): Promise<void> {
  for (const name of await tapeNames(places)) {
    const other = await Tape.open(places, name).catch(() => undefined);
    const isSame = other?.manifest.end?.log.sha256 === tape.end.log.sha256;
    if (isSame && other?.directory !== tape.directory) return;
  }
  await rm(tapeCache(places, tape), { recursive: true, force: true });
}

/** The guard for sessions of a tape with this cache, as an option of theirs: where it was built. */
export async function guardFor(tape: Tape, cache: string): Promise<Pick<SessionOptions, "guard">> {
  const cacheDir = dirname(dirname(cache));
  const guard = await builtGuard({ cacheDir, qemuVersion: tape.manifest.qemu.version });
  return guard === undefined ? {} : { guard };
}
