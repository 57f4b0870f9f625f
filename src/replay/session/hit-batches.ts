import type { Icount } from "../../base/units.js";
import type { PluginChannel } from "../../qemu/plugin-channel.js";
import type { HitBatch } from "../../qemu/probe-hits.js";
import type { Tape } from "../../tape/tape.js";
import { type ProbedSessionOptions, startProbed } from "./probed-session.js";
import type { Session } from "./session.js";

export interface HitBatchOptions extends ProbedSessionOptions {
  /** Where to end; default: the tape's end. */
  readonly to?: Icount | undefined;
  /** Called when the machine has come to the end and has sent all its hits. */
  readonly arrived?: (channel: PluginChannel) => Promise<void>;
}

/**
 * Replays a stretch of a tape, and yields the hits of its probes in order as they come. Unlike `scan` it waits for
 * its reader: while the reader is busy, the guest is held up, so hits do not pile up. The reader may stop at any
 * time.
 *
 * @throws `cancelled`; everything `Session.runTo` throws. The tape's files are not checked again.
 */
export async function* hitBatches(tape: Tape, options: HitBatchOptions): AsyncGenerator<HitBatch> {
  const { to, arrived, ...probed } = options;
  await using started = await startProbed(tape, probed);
  const { session, channel, probes } = started;
  const ran = run(session, channel, options);
  ran.catch(() => {}); // it is awaited when the hits have ended
  yield* probes.hits();
  await ran;
}

/** Runs to the end, has all hits sent, and lets QEMU exit, which ends the stream of hits. */
async function run(
  session: Session,
  channel: PluginChannel,
  { to, arrived, signal }: HitBatchOptions,
): Promise<void> {
  try {
    if (to === undefined) await session.runToEnd(signal);
    else await session.runTo(to, signal);
    await arrived?.(channel);
    await channel.command("hits");
    await session.quit();
  } catch (error) {
    await session.stop(); // ends the stream of hits, too
    throw error;
  }
}
