import type { FirstVisits } from "../../formats/first-visits.js";
import type { PluginChannel } from "../../qemu/plugin-channel.js";
import type { Tape } from "../../tape/tape.js";
import { readFirstVisits, writeFirstVisits } from "./first-visits-file.js";

/** The share of a pass's time that may be spent on writing the file. */
const savingShare = 0.05;
/** The least time between two writes, as that for rows. */
const leastMs = 2000;

/** Gathers the first visits of one pass through a tape, and saves them into its cache now and then. */
export class VisitKeeper {
  private readonly cache: string;
  private readonly channel: PluginChannel;
  private readonly before: FirstVisits;
  private readonly pieces: Uint8Array[] = [];
  private to: number;
  private isFull: boolean;
  private savedAt = performance.now();
  private savingMs = 0;

  private constructor(cache: string, channel: PluginChannel, before: FirstVisits) {
    this.cache = cache;
    this.channel = channel;
    this.before = before;
    this.to = before.to;
    this.isFull = before.isFull;
  }

  /**
   * Begins at the stopped machine's instant. It must not lie beyond the icount up to which first visits are known.
   */
  static async begin(tape: Tape, cache: string, channel: PluginChannel): Promise<VisitKeeper> {
    const keeper = new VisitKeeper(cache, channel, await knownVisits(tape, cache));
    await keeper.gather();
    return keeper;
  }

  /** Fetches the first visits since the last time. The machine must be stopped. */
  async gather(): Promise<void> {
    if (this.isFull) return;
    const { to, bytes, isFull } = await this.channel.firstVisits();
    if (bytes.length > 0) this.pieces.push(bytes);
    this.to = Math.max(this.to, Number(to));
    this.isFull = isFull;
  }

  /** Saves them when the last time was long enough ago. */
  async saveSometimes(): Promise<void> {
    const patience = Math.max(leastMs, this.savingMs / savingShare);
    if (performance.now() - this.savedAt >= patience) await this.save();
  }

  async save(): Promise<void> {
    const startedAt = performance.now();
    const { before, pieces, to, isFull } = this;
    const pass = { stretches: Buffer.concat(pieces) };
    await writeFirstVisits(this.cache, {
      ...before,
      to,
      isFull,
      passes: pieces.length > 0 ? [...before.passes, pass] : before.passes,
    });
    this.savedAt = performance.now();
    this.savingMs = this.savedAt - startedAt;
  }
}

/** The first visits that the cache has of this tape; an empty table when it has none. */
export async function knownVisits(tape: Tape, cache: string): Promise<FirstVisits> {
  const { sha256 } = tape.end.log;
  const known = await readFirstVisits(cache);
  return known?.log === sha256 ? known : { log: sha256, to: 0, isFull: false, passes: [] };
}
