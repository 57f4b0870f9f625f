import { guardOf } from "../../qemu/plugin-build.js";
import {
  PluginChannel,
  type PluginPosition,
  pluginArguments,
  pluginChannels,
  probeArguments,
  probeChannels,
} from "../../qemu/plugin-channel.js";
import { firstChannelFd } from "../../qemu/process.js";
import type { Tape } from "../../tape/tape.js";
import type { CountedCheckpoint } from "./checkpoint.js";
import { Session, type SessionOptions } from "./session.js";

export interface PluggedSessionOptions extends Omit<SessionOptions, "from" | "attach" | "channels"> {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Where to begin; default: the tape's start. */
  readonly from?: CountedCheckpoint | undefined;
  /** Adds a third channel, for the hits of probes. `follow`: branches are counted, too. Default: no such channel. */
  readonly probes?: { readonly follow: boolean };
  /** Adds a channel, the last of `session.channels`, as a character device of this name. */
  readonly device?: string;
}

/** A machine with the branch plugin, paused where it begins. Disposal ends it. */
export interface PluggedSession extends AsyncDisposable {
  readonly session: Session;
  readonly channel: PluginChannel;
  /** The position where the plugin began to count. */
  readonly begun: PluginPosition;
}

/**
 * Starts a session whose QEMU has the branch plugin loaded. Cost: as `Session.start`.
 *
 * @throws everything `Session.create` and `Session.start` throw
 */
export async function startPlugged(tape: Tape, options: PluggedSessionOptions): Promise<PluggedSession> {
  const { plugin, from, probes, device, ...rest } = options;
  const extra = probes ? probeArguments(plugin, probes) : pluginArguments(plugin);
  let channels = probes ? probeChannels : pluginChannels;
  if (device !== undefined) extra.push("-chardev", `socket,id=${device},fd=${firstChannelFd + channels++}`);
  const own = { from, channels, attach: { extra }, guard: guardOf(plugin) };
  const session = await Session.create(tape, { ...rest, ...own });
  try {
    await session.start(undefined, rest.signal);
    const channel = new PluginChannel(session.channels);
    const begun = await channel.start(from?.brctr, from?.rep);
    return { session, channel, begun, [Symbol.asyncDispose]: () => session[Symbol.asyncDispose]() };
  } catch (error) {
    const why = await session.explain(error);
    await session[Symbol.asyncDispose]();
    throw why;
  }
}
