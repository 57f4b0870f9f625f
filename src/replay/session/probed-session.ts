import type { RunContext } from "../../base/run-context.js";
import { type PluginChannel, probeChannels } from "../../qemu/plugin-channel.js";
import { ProbeChannel } from "../../qemu/probe-channel.js";
import type { Tape } from "../../tape/tape.js";
import type { CountedCheckpoint } from "./checkpoint.js";
import { startPlugged } from "./plugged-session.js";
import type { Session } from "./session.js";

export interface ProbedSessionOptions extends RunContext {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** Where to begin; default: the tape's start. */
  readonly from?: CountedCheckpoint | undefined;
  /**
   * Count branches, too: hits then have a brctr, and conditions may use it. Cost: the replay takes a fifth longer.
   * Default false.
   */
  readonly follow?: boolean;
  /** Sets the probes, and whatever else is wanted of the plugin, before the machine runs. */
  readonly prepare: (probes: ProbeChannel, channel: PluginChannel) => Promise<void>;
}

/** A paused session whose probes are set, with its channels. Disposal ends the session. */
export interface ProbedSession extends AsyncDisposable {
  readonly session: Session;
  readonly channel: PluginChannel;
  readonly probes: ProbeChannel;
}

/**
 * Starts a session with probes set, ready to run. The tape's files are not checked again.
 *
 * @throws everything `Session.create` and `Session.start` throw
 */
export async function startProbed(tape: Tape, options: ProbedSessionOptions): Promise<ProbedSession> {
  const { follow = false, prepare, ...rest } = options;
  const started = await startPlugged(tape, { ...rest, trusted: true, probes: { follow } });
  const { session, channel } = started;
  try {
    const probes = new ProbeChannel(channel, session.channels[probeChannels - 1]);
    await prepare(probes, channel);
    return { session, channel, probes, [Symbol.asyncDispose]: () => started[Symbol.asyncDispose]() };
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
}
