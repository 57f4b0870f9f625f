import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { icount } from "../../base/units.js";
import { BranchBatch, type BranchRecord } from "../../formats/branch.js";
import { BranchChunkDecoder } from "../../formats/branch-chunk-decoder.js";
import { chunkHeaderLayout, decodeChunkHeader } from "../../formats/branch-log-layout.js";
import { PluginChannel } from "../../qemu/plugin-channel.js";
import type { Divergence } from "../session/divergence.js";

/** The branch stream of two replays in which all records were equal. */
export interface BranchStream {
  readonly records: bigint;
  /** SHA-256 of all chunks, headers and payloads, in order: they are canonical (docs/FORMATS.md, "Branch log"). */
  readonly sha256: string;
}

/** A replay whose QEMU has the branch plugin. */
interface Tapped {
  readonly channels: readonly Socket[];
}

/**
 * Compares the branches of two replays as they run. Chunks are compared whole; the first two that differ are
 * decoded to find the record.
 */
export class BranchComparison {
  private readonly hash = createHash("sha256");
  private readonly pending: [Uint8Array[], Uint8Array[]] = [[], []];
  private readonly taps: { readonly channel: PluginChannel; readonly records: Promise<bigint> }[] = [];
  private difference: Divergence | undefined;

  /** Begins with two replays, which must be paused before their first instruction. */
  async attach(replays: readonly [Tapped, Tapped]): Promise<void> {
    for (const [i, replay] of replays.entries()) {
      const channel = new PluginChannel(replay.channels);
      await channel.start();
      await channel.openWindow({ at: "now" }, { at: "never" });
      const records = this.drain(channel, this.pending[i]!);
      records.catch(() => {}); // when a replay dies, its own error tells why
      this.taps.push({ channel, records });
    }
  }

  /**
   * Ends the comparison where the two replays stand, which must be paused.
   *
   * @returns the stream, or the first record that differs
   * @throws `inexact`, `qemu-failed`
   */
  async finish(): Promise<BranchStream | Divergence> {
    for (const { channel } of this.taps) await channel.closeWindow();
    const [first = 0n, second = 0n] = await Promise.all(this.taps.map(({ records }) => records));
    const [more] = this.pending.filter((chunks) => chunks.length > 0);
    if (!this.difference && more) this.difference = oneHasMore(more[0]!, first, second);
    return this.difference ?? { records: first, sha256: this.hash.digest("hex") };
  }

  private async drain(channel: PluginChannel, into: Uint8Array[]): Promise<bigint> {
    const chunks = channel.chunks();
    for (;;) {
      const { value, done } = await chunks.next();
      if (done) return value.records;
      if (this.difference) continue;
      into.push(value);
      this.compare();
    }
  }

  private compare(): void {
    const [first, second] = this.pending;
    while (!this.difference && first.length > 0 && second.length > 0) {
      const [a, b] = [first.shift()!, second.shift()!];
      if (Buffer.compare(a, b) === 0) this.hash.update(a);
      else this.difference = firstDifferentRecord(a, b);
    }
  }
}

function firstDifferentRecord(a: Uint8Array, b: Uint8Array): Divergence {
  const [left, right] = [records(a), records(b)];
  for (;;) {
    const [one, other] = [left.next().value, right.next().value];
    const [expected, got] = [one && recordText(one), other && recordText(other)];
    if (expected === got && expected !== undefined) continue;
    const at = one?.icount ?? other?.icount ?? 0n;
    return { icount: icount(at), what: "two replays parted: their branches differ", expected, got };
  }
}

function oneHasMore(chunk: Uint8Array, first: bigint, second: bigint): Divergence {
  const at = decodeChunkHeader(chunk, "a chunk", 0).firstIcount;
  return {
    icount: icount(at),
    what: "two replays parted: one has more branches",
    expected: `${first} branches`,
    got: `${second} branches`,
  };
}

function* records(chunk: Uint8Array): Generator<BranchRecord, undefined> {
  const decoder = new BranchChunkDecoder();
  decoder.start(decodeChunkHeader(chunk, "a chunk", 0), chunk.subarray(chunkHeaderLayout.size), "a chunk");
  const batch = new BranchBatch();
  while (decoder.remaining > 0) {
    batch.clear();
    decoder.read(batch);
    for (let i = 0; i < batch.length; i++) yield batch.record(i);
  }
  return undefined;
}

function recordText({ brctr, from, to, kind, icount }: BranchRecord): string {
  return `${brctr} 0x${from.toString(16)} -> 0x${to.toString(16)} ${kind} @${icount}`;
}
