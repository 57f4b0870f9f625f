import type { HitBatch } from "../qemu/probe-hits.js";
import { type CountedCheckpoint, isLostCheckpoint } from "../replay/checkpoint.js";
import { type HitBatchOptions, hitBatches } from "../replay/hit-batches.js";
import type { Tape } from "../tape/tape.js";

export interface PassOptions extends Omit<HitBatchOptions, "from"> {
  /** The checkpoints there are now, in order: the pass begins at the last one before `since`. */
  readonly checkpoints?: () => Promise<readonly CountedCheckpoint[]>;
}

/**
 * `hitBatches` from an instant on, from the nearest checkpoint. What is told does not depend on which there are: probes
 * are set at the instant itself. One that is lost is passed over.
 */
export async function* passSince(
  tape: Tape,
  options: PassOptions,
  signal?: AbortSignal,
): AsyncGenerator<HitBatch> {
  const { checkpoints, ...pass } = options;
  for (;;) {
    const from = pass.since === undefined ? undefined : await nearest(checkpoints, pass.since);
    try {
      // One that is lost says so when the session starts, before anything is told.
      yield* hitBatches(tape, { ...pass, ...(from && { from }) }, signal);
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
