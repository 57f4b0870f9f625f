import { type ByteSource, openFileSource } from "../base/byte-source.js";
import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import { type Brctr, brctr, icount } from "../base/units.js";
import { BranchBatch, branchKinds } from "../formats/branch.js";
import { BranchChunkDecoder } from "../formats/branch-chunk-decoder.js";
import { BranchLogChunks, type RawChunk } from "../formats/branch-log-chunks.js";
import {
  type BranchLogHeader,
  branchLogVersion,
  type ChunkHeader,
  chunkHeaderLayout,
  type IndexEntry,
  isDense,
  kindCounts,
} from "../formats/branch-log-layout.js";
import { batchesOf } from "./batches.js";
import type {
  BranchCheckOptions,
  BranchFileCheck,
  BranchFileDamage,
  BranchFileInfo,
  BranchRange,
  BranchReader,
} from "./branch-reader.js";

/**
 * A branch log file, open for reading. Going to any brctr or icount reads the index's pages on the way and one
 * chunk (about 20 kB), and decodes that chunk as far as needed: a few milliseconds at any size of file.
 */
export class BranchLog implements BranchReader {
  private readonly decoder = new BranchChunkDecoder();
  /** Number of the chunk in the decoder; its next records are the cursor's. */
  private current = -1;
  private currentHeader: ChunkHeader | undefined;
  private lastChunk: ChunkHeader | undefined;
  /** What the next read throws, because the one before still had records to give. */
  private failure: unknown;

  private constructor(
    private readonly source: ByteSource & Partial<AsyncDisposable>,
    private readonly chunks: BranchLogChunks,
  ) {}

  /**
   * Opens a branch log.
   *
   * @param options.tape the UUID of the tape it must belong to
   * @throws `bad-file` when it is none, cut within its header, or of another tape; `unsupported` for a later version
   */
  static async open(path: string, options: { readonly tape?: string } = {}): Promise<BranchLog> {
    const source = await openFileSource(path);
    try {
      return await BranchLog.over(source, options);
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The same over any source, which `close` disposes of if it can be. */
  static async over(
    source: ByteSource & Partial<AsyncDisposable>,
    options: { readonly tape?: string } = {},
  ): Promise<BranchLog> {
    const chunks = await BranchLogChunks.open(source);
    const { tape } = chunks.header;
    if (options.tape !== undefined && tape !== options.tape) {
      throw new VmtapeError("bad-file", `${source.name} is the branch log of another tape`, {
        file: source.name,
        expected: options.tape,
        got: tape,
      });
    }
    const log = new BranchLog(source, chunks);
    if (chunks.count > 0 && !chunks.trailer) log.lastChunk = (await chunks.read(chunks.count - 1)).header;
    return log;
  }

  get header(): BranchLogHeader {
    return this.chunks.header;
  }

  /** Number of chunks. */
  get chunkCount(): number {
    return this.chunks.count;
  }

  get info(): BranchFileInfo {
    const { header, trailer, damage, count } = this.chunks;
    const last = this.lastChunk;
    const end = trailer
      ? { brctr: trailer.endBrctr, icount: trailer.endIcount }
      : {
          brctr: last ? last.lastBrctr + 1 : header.startBrctr,
          icount: last ? last.lastIcount : header.startIcount,
        };
    const { icounts } = header;
    return {
      file: this.source.name,
      format: "vmtape",
      bytes: this.source.size,
      version: branchLogVersion,
      tape: header.tape,
      arch: header.arch,
      qemu: header.qemu === "" ? undefined : header.qemu,
      selection: header.selection,
      chunks: count,
      records: this.chunks.records,
      start: { brctr: brctr(header.startBrctr), icount: icounts ? icount(header.startIcount) : undefined },
      end: { brctr: brctr(end.brctr), icount: icounts ? icount(end.icount) : undefined },
      kinds: trailer && kindCounts(trailer.kinds),
      whole: trailer !== undefined && !damage,
      damage: damage && { ...damage, brctr: trailer ? undefined : brctr(end.brctr) },
    };
  }

  async seek(place: bigint | number): Promise<void> {
    const wanted = Number(place);
    this.failure = undefined;
    if (this.currentHeader && wanted >= (this.decoder.peek() ?? Number.POSITIVE_INFINITY)) {
      if (wanted <= this.currentHeader.lastBrctr) return this.decoder.skipToBrctr(wanted);
    }
    if (this.chunks.count === 0) return;
    await this.load(await this.chunks.find("firstBrctr", wanted));
    this.decoder.skipToBrctr(wanted);
  }

  async seekIcount(executed: bigint | number): Promise<Brctr> {
    if (!this.header.icounts) {
      throw new VmtapeError("unsupported", `${this.source.name} tells no instruction counts`, {
        file: this.source.name,
      });
    }
    this.failure = undefined;
    if (this.chunks.count > 0) {
      await this.load(await this.chunks.find("firstIcount", Number(executed) - 1));
      this.decoder.skipToIcount(Number(executed));
      await this.toNextRecord();
    }
    const next = this.decoder.peek();
    return next === undefined ? this.info.end.brctr : brctr(next);
  }

  async read(batch: BranchBatch): Promise<number> {
    batch.clear();
    if (this.failure) throw this.failure;
    try {
      while (batch.length < batch.capacity && (await this.toNextRecord())) this.decoder.read(batch);
    } catch (error) {
      this.failure = error;
      if (batch.length === 0) throw error;
    }
    if (!this.header.icounts) batch.icount.fill(Number.NaN, 0, batch.length);
    return batch.length;
  }

  async readAt(place: bigint | number, batch: BranchBatch): Promise<number> {
    await this.seek(place);
    return this.read(batch);
  }

  batches(range?: BranchRange, batch?: BranchBatch): AsyncGenerator<BranchBatch, void, undefined> {
    return batchesOf(this, range, batch);
  }

  /** A chunk as the file holds it (borrowed until the next call). */
  async rawChunk(number: number): Promise<RawChunk> {
    return this.chunks.read(number);
  }

  /** Number of the chunk that holds a brctr, or would. */
  async chunkAt(place: number): Promise<number> {
    return this.chunks.find("firstBrctr", place);
  }

  /** Where a chunk lies and begins. */
  async chunkEntry(number: number): Promise<IndexEntry> {
    return this.chunks.entry(number);
  }

  async check(options: BranchCheckOptions = {}): Promise<BranchFileCheck> {
    const { chunks, decoder } = this;
    const batch = new BranchBatch(1 << 13);
    const kinds = new Float64Array(branchKinds.length);
    const total = this.info.records;
    let damage: BranchFileDamage | undefined = this.info.damage;
    const found = (what: BranchFileDamage) => {
      if (!damage || what.offset < damage.offset) damage = what;
    };
    let records = 0;
    let badChunks = 0;
    let expected: number | undefined = this.header.startBrctr;
    for (let number = 0; number < chunks.count; number++) {
      throwIfAborted(options.signal);
      try {
        const chunk = await chunks.read(number);
        const { header } = chunk;
        decoder.start(header, chunk.bytes.subarray(chunkHeaderLayout.size), this.source.name);
        const counted = new Array<number>(branchKinds.length).fill(0);
        while (decoder.remaining > 0) {
          batch.clear();
          decoder.read(batch);
          for (let i = 0; i < batch.length; i++) counted[batch.kind[i]!]!++;
        }
        const place = brctr(header.firstBrctr);
        if (counted.some((count, code) => count !== header.kinds[code])) {
          found({ offset: chunk.offset, what: "a chunk's counts by kind are wrong", brctr: place });
        }
        if (isDense(this.header) && expected !== undefined && expected !== header.firstBrctr) {
          found({ offset: chunk.offset, what: "records are missing before a chunk", brctr: brctr(expected) });
        }
        const entryAt = await chunks.checkIndex(number, chunk);
        if (entryAt !== undefined) found({ offset: entryAt, what: "its index is damaged" });
        expected = header.lastBrctr + 1;
        for (const [code, count] of counted.entries()) kinds[code]! += count;
        records += header.records;
      } catch (error) {
        if (!isVmtapeError(error)) throw error;
        badChunks++;
        const entry = await chunks.entry(number);
        expected = undefined;
        found({ offset: entry.offset, what: error.message, brctr: brctr(entry.firstBrctr) });
      }
      options.onProgress?.(records, total);
    }
    this.rewind();
    if (!damage && records !== total) {
      damage = { offset: this.source.size, what: `it has ${records} records, not ${total} as it says` };
    }
    const counts = kindCounts([...kinds]);
    return { ok: !damage, records, chunks: chunks.count, badChunks, kinds: counts, damage };
  }

  async close(): Promise<void> {
    await this.source[Symbol.asyncDispose]?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Puts the cursor before the first record. */
  private rewind(): void {
    this.current = -1;
    this.currentHeader = undefined;
    this.failure = undefined;
  }

  /** Makes the decoder hold the record at the cursor; false at the end. */
  private async toNextRecord(): Promise<boolean> {
    while (this.decoder.remaining === 0 || this.currentHeader === undefined) {
      if (this.current + 1 >= this.chunks.count) return false;
      const before = this.currentHeader;
      await this.load(this.current + 1);
      const { firstBrctr } = this.currentHeader!;
      if (before && isDense(this.header) && firstBrctr !== before.lastBrctr + 1) {
        const { name } = this.source;
        throw new VmtapeError("bad-file", `${name} lacks records from brctr ${before.lastBrctr + 1} on`, {
          file: name,
          brctr: before.lastBrctr + 1,
        });
      }
    }
    return true;
  }

  private async load(number: number): Promise<void> {
    this.currentHeader = undefined;
    const { header, bytes } = await this.chunks.read(number);
    this.decoder.start(header, bytes.subarray(chunkHeaderLayout.size), this.source.name);
    this.current = number;
    this.currentHeader = header;
  }
}
