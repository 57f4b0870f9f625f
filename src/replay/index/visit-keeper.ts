import type { FirstVisits } from "../../formats/first-visits.js";
import type { PluginChannel } from "../../qemu/plugin-channel.js";
import type { Tape } from "../../tape/tape.js";
import { readFirstVisits, writeFirstVisits } from "./first-visits-file.js";

/** Writing the file again may take this share of the time. */
const savingShare = 0.05;
/** It is written no more often than rows are. */
const leastMs = 2000;

/** Gathers first visits of one pass through a tape, and puts them into its cache now and then. */
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

  /** Begins at the stopped machine's instant, which is not behind what is known. */
  static async begin(tape: Tape, cache: string, channel: PluginChannel): Promise<VisitKeeper> {
    const keeper = new VisitKeeper(cache, channel, await knownVisits(tape, cache));
    await keeper.gather();
    return keeper;
  }

  /** Fetches what came since, from the stopped machine. */
  async gather(): Promise<void> {
    if (this.isFull) return;
    const { to, bytes, isFull } = await this.channel.firstVisits();
    if (bytes.length > 0) this.pieces.push(bytes);
    this.to = Math.max(this.to, Number(to));
    this.isFull = isFull;
  }

  /** Puts them into the cache when it is time. */
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

/** What the cache has of this tape, or nothing. */
export async function knownVisits(tape: Tape, cache: string): Promise<FirstVisits> {
  const { sha256 } = tape.end.log;
  const known = await readFirstVisits(cache);
  return known?.log === sha256 ? known : { log: sha256, to: 0, isFull: false, passes: [] };
}
