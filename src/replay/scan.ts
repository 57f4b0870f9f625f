import type { Icount } from "../base/units.js";
import { brctr } from "../base/units.js";
import { PluginChannel, probeArguments, probeChannels } from "../qemu/plugin-channel.js";
import { ProbeChannel } from "../qemu/probe-channel.js";
import type { HitBatch } from "../qemu/probe-hits.js";
import type { Tape } from "../tape/tape.js";
import type { CountedCheckpoint } from "./checkpoint.js";
import { Session, type SessionOptions } from "./session.js";

export interface ScanOptions extends Pick<SessionOptions, "qemu" | "debug" | "onProgress"> {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Where to begin; default: the tape's start. */
  readonly from?: CountedCheckpoint;
  /** Where to end. */
  readonly to: Icount;
  /** Count branches, too: hits then have a brctr, and conditions may ask for it. Costs a fifth more. Default false. */
  readonly follow?: boolean;
  /** Sets the probes. */
  readonly prepare: (channel: ProbeChannel) => Promise<void>;
  /** What is met, in order, as it comes (borrowed). */
  readonly onHits: (batch: HitBatch) => void;
}

/**
 * Replays a stretch of a tape without a stop, and tells what the probes meet. Without hits and without following
 * branches it costs what a plain replay costs.
 *
 * @throws `cancelled`; everything `Session.runTo` throws. The tape's files are not checked again.
 */
export async function scan(tape: Tape, options: ScanOptions, signal?: AbortSignal): Promise<void> {
  const { plugin, from, to, follow = false, prepare, onHits, ...rest } = options;
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
  const told = tell(probes, onHits);
  await Promise.race([session.runTo(to, signal), told.failed]);
  await Promise.race([probes.settled(), told.failed]);
}

/** Tells hits until the machine ends. `failed` never resolves. */
function tell(probes: ProbeChannel, onHits: (batch: HitBatch) => void): { readonly failed: Promise<never> } {
  const failed = new Promise<never>((_, reject) => {
    (async () => {
      for await (const batch of probes.hits()) onHits(batch);
    })().catch(reject);
  });
  failed.catch(() => {});
  return { failed };
}
