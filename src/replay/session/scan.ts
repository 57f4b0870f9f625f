import type { Icount } from "../../base/units.js";
import type { ProbeChannel } from "../../qemu/probe-channel.js";
import type { HitBatch } from "../../qemu/probe-hits.js";
import type { Tape } from "../../tape/tape.js";
import { type ProbedSessionOptions, startProbed } from "./probed-session.js";

export interface ScanOptions extends ProbedSessionOptions {
  /** Where to end. */
  readonly to: Icount;
  /** Called with the hits, in order, as they come. The batch is borrowed. */
  readonly onHits: (batch: HitBatch) => void;
}

/**
 * Replays a stretch of a tape without a stop, and calls `onHits` with the hits of its probes. Cost: with no hits, and
 * without `follow`, that of a plain replay.
 *
 * @throws `cancelled`; everything `Session.runTo` throws. The tape's files are not checked again.
 */
export async function scan(tape: Tape, options: ScanOptions): Promise<void> {
  const { to, onHits, ...probed } = options;
  await using started = await startProbed(tape, probed);
  const { session, probes } = started;
  const told = tell(probes, onHits);
  await Promise.race([session.runTo(to, probed.signal), told.failed]);
  await Promise.race([probes.settled(), told.failed]);
}

/**
 * Calls `onHits` with all hits until the machine ends. `failed` rejects when reading them fails, and never resolves.
 */
function tell(probes: ProbeChannel, onHits: (batch: HitBatch) => void): { readonly failed: Promise<never> } {
  const failed = new Promise<never>((_, reject) => {
    (async () => {
      for await (const batch of probes.hits()) onHits(batch);
    })().catch(reject);
  });
  failed.catch(() => {});
  return { failed };
}
