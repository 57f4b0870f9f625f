import type { ProgressSink } from "../base/progress.js";
import { type Icount, icount } from "../base/units.js";
import { PluginChannel, pluginArguments, pluginChannels } from "../qemu/plugin-channel.js";
import type { Tape } from "../tape/tape.js";
import { type CountedCheckpoint, countedCheckpoints } from "./checkpoint.js";
import { Session, type SessionOptions } from "./session.js";

export { type CountedCheckpoint, countedCheckpoints } from "./checkpoint.js";

export interface IndexOptions extends Pick<SessionOptions, "qemu" | "debug"> {
  /** The tape's cache (`tapeCache`): checkpoints go there. */
  readonly cache: string;
  /** The built plugin (`buildPlugin`): it counts the branches. */
  readonly plugin: string;
  /** How many checkpoints to leave, evenly spaced. */
  readonly checkpoints: number;
  readonly onProgress?: ProgressSink;
  readonly signal?: AbortSignal;
}

/**
 * Replays a tape once, counting branches, and leaves checkpoints. What a killed run left stays and is used; what is
 * there already is not made again.
 *
 * Cost: one replay at about 1.1 times its plain duration, and about 0.1 s and the guest's RAM in use a checkpoint.
 */
export async function indexTape(tape: Tape, options: IndexOptions): Promise<CountedCheckpoint[]> {
  const { cache, plugin, onProgress, signal, qemu, debug } = options;
  const total = Number(tape.end.at);
  await using session = await Session.create(
    tape,
    {
      ...(qemu && { qemu }),
      ...(debug && { debug }),
      ...(onProgress && { onProgress: (report) => onProgress({ ...report, doing: "indexing", total }) }),
      checkpointsTo: cache,
      attach: { extra: pluginArguments(plugin) },
      channels: pluginChannels,
    },
    signal,
  );
  const known = new Set((await countedCheckpoints(cache, session)).map((one) => one.icount));
  const missing = instants(tape, options.checkpoints).filter((at) => !known.has(at));
  if (missing.length > 0) {
    await session.start(undefined, signal);
    const channel = new PluginChannel(session.channels);
    await channel.start();
    for (const at of missing) {
      await session.runTo(at, signal);
      await session.checkpoint({ icount: at, brctr: (await channel.where()).brctr });
    }
  }
  return countedCheckpoints(cache, session);
}

function instants(tape: Tape, count: number): Icount[] {
  const end = Number(tape.end.at);
  return Array.from({ length: count }, (_, i) => icount(Math.floor((end * (i + 1)) / (count + 1))));
}
