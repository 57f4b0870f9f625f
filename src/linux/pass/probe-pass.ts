import type { Icount } from "../../base/units.js";
import type { HitBatch } from "../../qemu/probe-hits.js";
import { type CountedCheckpoint, isLostCheckpoint } from "../../replay/session/checkpoint.js";
import { type HitBatchOptions, hitBatches } from "../../replay/session/hit-batches.js";
import type { Tape } from "../../tape/tape.js";

export interface PassOptions extends Omit<HitBatchOptions, "from"> {
  /** What comes before is of no interest: the pass may begin anywhere up to here. */
  readonly since?: Icount | undefined;
  /** The checkpoints there are now, in order: the pass begins at the last one before `since`. */
  readonly checkpoints?: (() => Promise<readonly CountedCheckpoint[]>) | undefined;
}

/**
 * `hitBatches` from the nearest checkpoint before an instant; one that is lost is passed over. Probes are met from the
 * checkpoint on, so what comes before the instant is the caller's to leave out. (They are not set at the instant itself:
 * QEMU 7.2 may be about to deliver an interrupt there, and keeps pointers into blocks that setting probes throws away.)
 */
export async function* passSince(tape: Tape, options: PassOptions): AsyncGenerator<HitBatch> {
  const { checkpoints, since, ...pass } = options;
  for (;;) {
    const from = since === undefined ? undefined : await nearest(checkpoints, since);
    try {
      // One that is lost says so when the session starts, before anything is told.
      yield* hitBatches(tape, { ...pass, from });
      return;
    } catch (error) {
      if (!from || !isLostCheckpoint(error)) throw error;
    }
  }
}

/** One at the very icount only if no delivery of that icount was made in it. */
async function nearest(
  checkpoints: PassOptions["checkpoints"],
  since: bigint,
): Promise<CountedCheckpoint | undefined> {
  const all = (await checkpoints?.()) ?? [];
  return all.findLast((one) => one.icount < since || (one.icount === since && !one.delivered));
}
