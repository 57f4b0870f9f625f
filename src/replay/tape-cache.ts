import { join } from "node:path";
import type { Places } from "../tape/home.js";
import type { Tape } from "../tape/tape.js";

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
