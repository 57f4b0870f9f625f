import { brctr, type Icount } from "../base/units.js";
import { PluginChannel, probeArguments, probeChannels } from "../qemu/plugin-channel.js";
import { ProbeChannel } from "../qemu/probe-channel.js";
import type { HitBatch } from "../qemu/probe-hits.js";
import type { Tape } from "../tape/tape.js";
import type { CountedCheckpoint } from "./checkpoint.js";
import { Session, type SessionOptions } from "./session.js";

export interface HitBatchOptions extends Pick<SessionOptions, "qemu" | "debug" | "onProgress"> {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Where to begin; default: the tape's start. */
  readonly from?: CountedCheckpoint;
  /** Where to end; default: the tape's end. */
  readonly to?: Icount;
  /** Count branches, too: costs a fifth more. Default false. */
  readonly follow?: boolean;
  /** Sets the probes. */
  readonly prepare: (channel: ProbeChannel) => Promise<void>;
}

/**
 * Replays a stretch of a tape and gives what its probes meet, in order, as it comes. Unlike `scan` it waits for its
 * reader, who may take a hit at a time and stop at any: the guest is held up meanwhile, and nothing piles up.
 *
 * @throws `cancelled`; everything `Session.runTo` throws. The tape's files are not checked again.
 */
export async function* hitBatches(
  tape: Tape,
  options: HitBatchOptions,
  signal?: AbortSignal,
): AsyncGenerator<HitBatch> {
  const { plugin, from, to, follow = false, prepare, ...rest } = options;
  await using session = await Session.create(
    tape,
    {
      ...rest,
      ...(from && { from }),
      trusted: true,
      channels: probeChannels,
      attach: { extra: probeArguments(plugin, { follow }) },
    },
    signal,
  );
  await session.start(undefined, signal);
  const channel = new PluginChannel(session.channels);
  await channel.start(from?.brctr ?? brctr(0), from?.rep);
  const probes = new ProbeChannel(channel, session.channels[probeChannels - 1]);
  await prepare(probes);
  const ran = run(session, channel, to, signal);
  ran.catch(() => {}); // it is awaited when the hits have ended
  yield* probes.hits();
  await ran;
}

/** Runs to the end, has all hits sent, and lets QEMU go, which ends their stream. */
async function run(
  session: Session,
  channel: PluginChannel,
  to: Icount | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    if (to === undefined) await session.runToEnd(signal);
    else await session.runTo(to, signal);
    await channel.command("hits");
    await session.quit();
  } catch (error) {
    await session.stop(); // or nobody would end the stream
    throw error;
  }
}
