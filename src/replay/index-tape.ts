import type { ProgressSink } from "../base/progress.js";
import { type Brctr, type Icount, icount } from "../base/units.js";
import { PluginChannel, pluginArguments, pluginChannels } from "../qemu/plugin-channel.js";
import type { Tape } from "../tape/tape.js";
import { type Checkpoint, listCheckpoints } from "./checkpoint.js";
import { Session, type SessionOptions } from "./session.js";

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

/** A checkpoint whose number of records before it is known: a trace can begin there. */
export type CountedCheckpoint = Checkpoint & { readonly brctr: Brctr };

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

/** The checkpoints a trace can begin at, in order. */
export async function countedCheckpoints(
  cache: string,
  session: Pick<Session, "build">,
): Promise<CountedCheckpoint[]> {
  const all = await listCheckpoints(cache, session.build);
  return all.filter((one): one is CountedCheckpoint => one.brctr !== undefined);
}

function instants(tape: Tape, count: number): Icount[] {
  const end = Number(tape.end.at);
  return Array.from({ length: count }, (_, i) => icount(Math.floor((end * (i + 1)) / (count + 1))));
}
