import { VmtapeError } from "../base/errors.js";
import { BranchBatch, branchKinds } from "../formats/branch.js";
import { crc32 } from "../formats/branch-checksum.js";
import { BranchChunkDecoder } from "../formats/branch-chunk-decoder.js";
import { BranchChunkEncoder } from "../formats/branch-chunk-encoder.js";
import { chunkBits as usualChunkBits } from "../formats/branch-chunk-model.js";
import {
  type BranchLogHeader,
  type ChunkHeader,
  chunkHeaderLayout,
  decodeChunkHeader,
  encodeFileHeader,
  encodeIndexEntry,
  encodeTrailer,
  type IndexEntry,
  indexEntryLayout,
  isDense,
  payloadBytes,
} from "../formats/branch-log-layout.js";
import { OutputFile, type OutputOptions } from "./output-file.js";

/** Where bytes of a log go: a file, a pipe. */
export interface BranchLogOutput extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>;
  commit(): Promise<void>;
}

/** What a new log says of itself; the rest has usual values. */
export type BranchLogFacts = Pick<BranchLogHeader, "startBrctr" | "startIcount"> & Partial<BranchLogHeader>;

/** A log up to some chunk, and the one that follows it. */
export interface WrittenLog {
  readonly entries: readonly IndexEntry[];
  /** Records of each kind in those chunks. */
  readonly kinds: readonly number[];
  /** Where those chunks end. */
  readonly offset: number;
  readonly held: { readonly header: ChunkHeader; readonly bytes: Uint8Array } | undefined;
  readonly endBrctr: number;
  readonly endIcount: number;
}

export interface BranchLogSummary {
  readonly records: number;
  readonly chunks: number;
  readonly bytes: number;
}

/**
 * Writes a branch log, from records or from chunks that were encoded elsewhere (by the plugin, or in another log).
 * The bytes depend on the records and the facts alone, not on how they came: chunks end where brctr reaches a
 * multiple of their span, and parts of one chunk that come from two sides are put together.
 *
 * The last chunk is held until the next begins or `finish`; all before it are in the output. Memory: one chunk,
 * and 32 bytes for each that was written.
 */
export class BranchLogWriter implements AsyncDisposable {
  private readonly encoder: BranchChunkEncoder;
  private readonly index: Uint8Array[] = [];
  private readonly kinds = new Float64Array(branchKinds.length);
  /** A chunk that came whole and may still be continued. */
  private held: { readonly header: ChunkHeader; readonly bytes: Uint8Array } | undefined;
  private offset = 0;
  private records = 0;
  private nextBrctr: number;
  private lastIcount: number;
  private finished = false;

  private constructor(
    readonly header: BranchLogHeader,
    private readonly output: BranchLogOutput,
  ) {
    this.encoder = new BranchChunkEncoder(header.chunkBits, header.icounts);
    this.nextBrctr = header.startBrctr;
    this.lastIcount = header.startIcount;
  }

  /**
   * Begins a log.
   *
   * @param options.inPlace let what was written so far be seen under the name at once; else it appears when finished
   * @throws `not-writable`, `disk-full`, `bad-file`
   */
  static async create(
    path: string,
    facts: BranchLogFacts,
    options: OutputOptions = {},
  ): Promise<BranchLogWriter> {
    return BranchLogWriter.over(await OutputFile.create(path, options), facts);
  }

  /** The same over any output; the writer owns it. */
  static async over(output: BranchLogOutput, facts: BranchLogFacts): Promise<BranchLogWriter> {
    const header: BranchLogHeader = {
      tape: undefined,
      arch: "x86_64",
      qemu: "",
      chunkBits: usualChunkBits,
      selection: "all",
      icounts: true,
      ...facts,
    };
    const writer = new BranchLogWriter(header, output);
    try {
      await writer.put(encodeFileHeader(header));
    } catch (error) {
      await output[Symbol.asyncDispose]();
      throw error;
    }
    return writer;
  }

  /**
   * Goes on with a log that exists: what was written stays, and the last chunk is taken back to be continued.
   *
   * @param output writes from `state.offset` on
   */
  static resume(output: BranchLogOutput, header: BranchLogHeader, state: WrittenLog): BranchLogWriter {
    const writer = new BranchLogWriter(header, output);
    for (const entry of state.entries) {
      writer.index.push(encodeIndexEntry(entry));
      writer.records += entry.records;
    }
    for (const [code, count] of state.kinds.entries()) writer.kinds[code] = count;
    writer.offset = state.offset;
    writer.held = state.held;
    writer.nextBrctr = state.endBrctr;
    writer.lastIcount = state.endIcount;
    return writer;
  }

  /**
   * Adds records `start` … `end`-1 of a batch.
   *
   * @throws `bad-file` for records that do not follow those before
   */
  async add(batch: BranchBatch, start = 0, end = batch.length): Promise<void> {
    if (start >= end) return;
    const first = batch.brctrAt(start);
    this.requireNext(first);
    if (this.held && this.chunkOf(first) === this.chunkOf(this.held.header.firstBrctr))
      this.reopen(this.held);
    for (let at = start; at < end; ) {
      const chunk = this.chunkOf(batch.brctrAt(at));
      if (this.held || (this.encoder.length > 0 && this.encoder.chunk !== chunk)) await this.flush();
      at = this.encoder.add(batch, at, end);
    }
    this.nextBrctr = batch.brctrAt(end - 1) + 1;
    const icount = batch.icount[end - 1]!;
    if (this.header.icounts) this.lastIcount = icount;
  }

  /**
   * Adds a chunk: header and payload as a log of the same chunk span holds them. Costs a checksum, unless it
   * continues a chunk that was begun: then both are encoded anew.
   *
   * @param bytes borrowed
   * @throws `bad-file` when it is damaged or does not follow what is there
   */
  async addChunk(bytes: Uint8Array, name = "a chunk"): Promise<void> {
    const header = decodeChunkHeader(bytes, name, 0);
    const payload = bytes.subarray(chunkHeaderLayout.size);
    if (payload.length !== payloadBytes(header) || crc32(payload) !== header.payloadCrc) {
      throw new VmtapeError("bad-file", `${name} is damaged: its checksum is wrong`, { file: name });
    }
    if (this.chunkOf(header.firstBrctr) !== this.chunkOf(header.lastBrctr)) {
      throw new VmtapeError("bad-file", `${name} is too long`, { file: name });
    }
    this.requireNext(header.firstBrctr);
    const open = this.held ? this.chunkOf(this.held.header.firstBrctr) : this.encoder.chunk;
    if (open === this.chunkOf(header.firstBrctr)) {
      await this.merge({ header, bytes });
    } else {
      await this.flush();
      this.held = { header, bytes: bytes.slice() };
    }
    this.nextBrctr = header.lastBrctr + 1;
    this.lastIcount = header.lastIcount;
  }

  /** Records so far. */
  get length(): number {
    return this.records + this.encoder.length + (this.held?.header.records ?? 0);
  }

  /**
   * Writes index and trailer, and makes the file appear.
   *
   * @param end the instant where logging ended; default: after the last record
   */
  async finish(end: { readonly brctr?: number; readonly icount?: number } = {}): Promise<BranchLogSummary> {
    await this.flush();
    const indexOffset = this.offset;
    const chunks = this.index.length;
    for (const entry of joined(this.index)) await this.put(entry);
    await this.put(
      encodeTrailer({
        indexOffset,
        chunks,
        records: this.records,
        endBrctr: Math.max(end.brctr ?? 0, this.nextBrctr),
        endIcount: end.icount ?? this.lastIcount,
        kinds: [...this.kinds],
      }),
    );
    await this.output.commit();
    this.finished = true;
    return { records: this.records, chunks, bytes: this.offset };
  }

  /** Without `finish` before it: drops the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.finished) await this.output[Symbol.asyncDispose]();
  }

  private chunkOf(place: number): number {
    return Math.floor(place / 2 ** this.header.chunkBits);
  }

  private requireNext(first: number): void {
    if (first === this.nextBrctr || (!isDense(this.header) && first > this.nextBrctr)) return;
    throw new VmtapeError(
      "bad-file",
      `branch record ${first} does not follow: the next one is ${this.nextBrctr}`,
      { expected: String(this.nextBrctr), got: String(first) },
    );
  }

  /** Puts the records of a chunk into the encoder. */
  private reopen(chunk: { readonly header: ChunkHeader; readonly bytes: Uint8Array }): void {
    this.held = undefined;
    const batch = new BranchBatch(1 << 14);
    const decoder = new BranchChunkDecoder();
    decoder.start(chunk.header, chunk.bytes.subarray(chunkHeaderLayout.size), "a chunk");
    while (decoder.remaining > 0) {
      batch.clear();
      decoder.read(batch);
      this.encoder.add(batch);
    }
  }

  private async merge(chunk: { readonly header: ChunkHeader; readonly bytes: Uint8Array }): Promise<void> {
    if (this.held) this.reopen(this.held);
    this.reopen(chunk);
  }

  /** Writes the open chunk. */
  private async flush(): Promise<void> {
    const chunk = this.held ?? this.encoder.finish();
    this.held = undefined;
    if (!chunk) return;
    const { header, bytes } = chunk;
    const { firstBrctr, firstIcount, records } = header;
    this.index.push(encodeIndexEntry({ firstBrctr, firstIcount, offset: this.offset, records }));
    await this.put(bytes);
    this.records += records;
    for (const [code, count] of header.kinds.entries()) this.kinds[code]! += count;
  }

  private async put(bytes: Uint8Array): Promise<void> {
    await this.output.write(bytes);
    this.offset += bytes.length;
  }
}

/** Index entries in pieces of 64 kB. */
function* joined(entries: readonly Uint8Array[]): Generator<Uint8Array> {
  const { size } = indexEntryLayout;
  const most = 2048;
  for (let at = 0; at < entries.length; at += most) {
    const part = entries.slice(at, at + most);
    const bytes = new Uint8Array(part.length * size);
    for (const [i, entry] of part.entries()) bytes.set(entry, i * size);
    yield bytes;
  }
}
