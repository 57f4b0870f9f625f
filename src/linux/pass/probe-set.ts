import type { ProbeChannel, ProbeOptions, ProbePlace } from "../../qemu/probe-channel.js";

/**
 * Probes of one owner, each with what its hits mean to it. Ids come from the channel, so that owners who share one need
 * know nothing of each other: a hit belongs to the set that knows its id.
 */
export class ProbeSet<Meaning> {
  private readonly meanings = new Map<number, Meaning>();

  /**
   * Sets a probe.
   *
   * @throws as {@link ProbeChannel.place}
   */
  async place(
    channel: ProbeChannel,
    meaning: Meaning,
    place: ProbePlace,
    options: ProbeOptions = {},
  ): Promise<void> {
    const id = channel.takeId();
    this.meanings.set(id, meaning);
    await channel.place(id, place, options);
  }

  /** What a hit of this id means; undefined when the probe is another owner's. */
  meaningOf(id: number): Meaning | undefined {
    return this.meanings.get(id);
  }
}
