import type { ByteSource } from "../base/byte-source.js";
import { crc32 } from "../base/compression/checksum.js";
import { VmtapeError } from "../base/errors.js";
import {
  type BranchLogHeader,
  type BranchLogTrailer,
  type ChunkHeader,
  chunkHeaderLayout,
  decodeChunkHeader,
  decodeFileHeader,
  decodeIndexEntry,
  decodeTrailer,
  fileHeaderLayout,
  type IndexEntry,
  indexEntryLayout,
  payloadBytes,
  trailerLayout,
} from "./branch-log-layout.js";

/** A chunk as the file holds it. */
export interface RawChunk {
  readonly header: ChunkHeader;
  /** Header and payload (borrowed until the next chunk is read). */
  readonly bytes: Uint8Array;
  readonly offset: number;
}

/** Index entries read at once: 16 kB. */
const entriesPerPage = 512;

/**
 * Where the chunks of a branch log lie. A whole log tells by its index, read page by page as needed, so opening
 * costs the same for any size of file. A log without one, or with a damaged one, is walked once from chunk header
 * to chunk header.
 */
export class BranchLogChunks {
  private page: { readonly first: number; readonly bytes: Uint8Array } | undefined;
  /** Entries found by walking, when the file's index is not used. */
  private walked: IndexEntry[] | undefined;
  private buffer = new Uint8Array(1 << 17);
  /** Why the file is not whole, once that is known. */
  damage: { readonly offset: number; readonly what: string } | undefined;

  private constructor(
    private readonly source: ByteSource,
    readonly header: BranchLogHeader,
    /** Absent in a log that was not finished. */
    readonly trailer: BranchLogTrailer | undefined,
  ) {}

  /** @throws `bad-file` for what is no branch log or cut inside its header, `unsupported` for a later version */
  static async open(source: ByteSource): Promise<BranchLogChunks> {
    const head = await readPart(source, 0, fileHeaderLayout.size);
    const header = decodeFileHeader(head, source.name);
    const tail = await readPart(source, Math.max(0, source.size - trailerLayout.size), trailerLayout.size);
    const chunks = new BranchLogChunks(source, header, decodeTrailer(tail, source.size));
    if (!chunks.trailer) await chunks.walk();
    return chunks;
  }

  /** Number of chunks. */
  get count(): number {
    return this.walked?.length ?? this.trailer!.chunks;
  }

  /** Number of records. */
  get records(): number {
    return this.trailer?.records ?? this.walked!.reduce((sum, entry) => sum + entry.records, 0);
  }

  /** Where chunk `number` lies; at most one read. */
  async entry(number: number): Promise<IndexEntry> {
    if (this.walked) return this.walked[number]!;
    const entry = decodeIndexEntry(await this.entryBytes(number));
    const { indexOffset } = this.trailer!;
    if (entry && entry.offset >= fileHeaderLayout.size && entry.offset < indexOffset) return entry;
    this.damage = { offset: indexOffset + number * indexEntryLayout.size, what: "its index is damaged" };
    await this.walk();
    if (number >= this.walked!.length) throw this.lost(number);
    return this.walked![number]!;
  }

  /** The last chunk that begins at or below a brctr or icount; 0 when all begin above. Reads log2(count) entries. */
  async find(key: "firstBrctr" | "firstIcount", value: number): Promise<number> {
    let low = 0;
    let high = this.count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((await this.entry(middle))[key] <= value) low = middle;
      else high = middle;
    }
    return low;
  }

  /**
   * Reads a chunk and checks its checksums and that it is the one its entry speaks of.
   *
   * @throws `bad-file` with the offset
   */
  async read(number: number): Promise<RawChunk> {
    const entry = await this.entry(number);
    const { name } = this.source;
    const { offset } = entry;
    const head = await this.readInto(offset, chunkHeaderLayout.size);
    const header = decodeChunkHeader(head, name, offset);
    if (header.firstBrctr !== entry.firstBrctr || header.records !== entry.records) {
      throw new VmtapeError("bad-file", `${name}: index and chunk at byte ${offset} do not agree`, {
        file: name,
        offset,
      });
    }
    this.requireInSpan(header, offset);
    const wanted = chunkHeaderLayout.size + payloadBytes(header);
    const bytes = await this.readInto(offset, wanted);
    if (bytes.length < wanted) {
      throw new VmtapeError("bad-file", `${name} ends inside the chunk at byte ${offset}`, {
        file: name,
        offset,
        brctr: header.firstBrctr,
      });
    }
    if (crc32(bytes.subarray(chunkHeaderLayout.size)) !== header.payloadCrc) {
      throw new VmtapeError(
        "bad-file",
        `${name}: the chunk at byte ${offset} (brctr ${header.firstBrctr}) is damaged: its checksum is wrong`,
        { file: name, offset, brctr: header.firstBrctr },
      );
    }
    return { header, bytes, offset };
  }

  /** A file's index against its chunks: undefined when it agrees, else the offset of the first entry that does not. */
  async checkIndex(number: number, chunk: RawChunk): Promise<number | undefined> {
    if (!this.trailer) return undefined;
    const at = this.trailer.indexOffset + number * indexEntryLayout.size;
    const entry = decodeIndexEntry(await readPart(this.source, at, indexEntryLayout.size));
    const agrees =
      entry?.offset === chunk.offset &&
      entry.firstBrctr === chunk.header.firstBrctr &&
      entry.firstIcount === chunk.header.firstIcount &&
      entry.records === chunk.header.records;
    return agrees ? undefined : at;
  }

  /** Finds the chunks by their headers, up to the first place where no whole chunk is. */
  private async walk(): Promise<void> {
    const { source } = this;
    const entries: IndexEntry[] = [];
    const end = this.trailer?.indexOffset ?? source.size;
    let offset: number = fileHeaderLayout.size;
    let what = "it was not finished";
    while (offset < end) {
      const header = await this.headerAt(offset, end, entries.at(-1));
      if (typeof header === "string") {
        what = header;
        break;
      }
      const { firstBrctr, firstIcount, records } = header;
      entries.push({ firstBrctr, firstIcount, offset, records });
      offset += chunkHeaderLayout.size + payloadBytes(header);
    }
    this.walked = entries;
    this.damage ??= { offset, what };
    if (!this.trailer) await this.dropDamagedEnd();
  }

  private async headerAt(
    offset: number,
    end: number,
    before: IndexEntry | undefined,
  ): Promise<ChunkHeader | string> {
    const bytes = await this.readInto(offset, chunkHeaderLayout.size);
    let header: ChunkHeader;
    try {
      header = decodeChunkHeader(bytes, this.source.name, offset);
      this.requireInSpan(header, offset);
    } catch {
      return bytes.length < chunkHeaderLayout.size
        ? "it ends inside a chunk header"
        : "no whole chunk follows";
    }
    if (offset + chunkHeaderLayout.size + payloadBytes(header) > end) return "it ends inside a chunk";
    if (before && header.firstBrctr < before.firstBrctr + before.records)
      return "its chunks are out of order";
    return header;
  }

  /** A log whose writer died may have a last chunk of which not all bytes reached the disk. */
  private async dropDamagedEnd(): Promise<void> {
    const last = this.walked!.at(-1);
    if (!last) return;
    try {
      await this.read(this.walked!.length - 1);
    } catch {
      this.walked!.pop();
      this.damage = { offset: last.offset, what: "its last chunk is damaged" };
    }
  }

  private requireInSpan(header: ChunkHeader, offset: number): void {
    const span = 2 ** this.header.chunkBits;
    if (Math.floor(header.firstBrctr / span) !== Math.floor(header.lastBrctr / span)) {
      const { name } = this.source;
      throw new VmtapeError("bad-file", `${name}: the chunk at byte ${offset} is too long`, {
        file: name,
        offset,
      });
    }
  }

  private async entryBytes(number: number): Promise<Uint8Array> {
    const { size } = indexEntryLayout;
    const first = number - (number % entriesPerPage);
    if (this.page?.first !== first) {
      const entries = Math.min(entriesPerPage, this.trailer!.chunks - first);
      const bytes = await readPart(this.source, this.trailer!.indexOffset + first * size, entries * size);
      this.page = { first, bytes };
    }
    const at = (number - first) * size;
    return this.page.bytes.subarray(at, at + size);
  }

  private async readInto(offset: number, length: number): Promise<Uint8Array> {
    if (length > this.buffer.length) {
      if (offset + length > this.source.size) return this.buffer.subarray(0, 0);
      this.buffer = new Uint8Array(length + (length >> 1));
    }
    const into = this.buffer.subarray(0, length);
    return into.subarray(0, await this.source.read(offset, into));
  }

  private lost(number: number): VmtapeError {
    const { name } = this.source;
    return new VmtapeError("bad-file", `${name}: chunk ${number} cannot be found`, {
      file: name,
      offset: this.damage?.offset,
    });
  }
}

async function readPart(source: ByteSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, await source.read(offset, bytes));
}
