import { type ByteSource, openFileSource } from "../base/byte-source.js";
import { VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import { type Brctr, brctr } from "../base/units.js";
import { BranchBatch } from "../formats/branch.js";
import { btsLayout, isBtsMark, isBtsPlausible } from "../formats/bts.js";
import { decodeBts } from "../formats/bts-codec.js";
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
 * A 24-byte BTS file, open for reading. A partial record at its end is told in `info.damage` and cut off. Going to
 * a brctr costs one computation in a plain file and about 30 small reads in an extended one.
 */
export class BtsFile implements BranchReader {
  /** Index of the next record. */
  private cursor = 0;
  private buffer = new Uint8Array(0);

  private constructor(
    private readonly source: ByteSource & Partial<AsyncDisposable>,
    private readonly extended: boolean,
    /** Records, without the one that marks an extended file. */
    private readonly records: number,
    /** brctr of the first record, and of what would follow the last. */
    private readonly start: number,
    private readonly end: number,
  ) {}

  /** @throws `bad-file` when it cannot be read, is empty, or has no possible branch record at its beginning */
  static async open(path: string): Promise<BtsFile> {
    const source = await openFileSource(path);
    try {
      return await BtsFile.over(source);
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The same over any source, which `close` disposes of if it can be. */
  static async over(source: ByteSource & Partial<AsyncDisposable>): Promise<BtsFile> {
    const { name, size } = source;
    if (size === 0) throw new VmtapeError("bad-file", `${name} is empty`, { file: name, offset: 0 });
    const first = new Uint8Array(btsLayout.size);
    const length = await source.read(0, first);
    const extended = isBtsMark(first.subarray(0, length));
    if (!extended && !isBtsPlausible(first.subarray(0, length))) {
      throw new VmtapeError(
        "bad-file",
        `${name} is neither a branch log nor a file of 24-byte branch records`,
        {
          file: name,
          offset: 0,
        },
      );
    }
    const records = Math.floor(size / btsLayout.size) - (extended ? 1 : 0);
    if (!extended || records === 0) return new BtsFile(source, extended, records, 0, records);
    const file = new BtsFile(source, extended, records, 0, 0);
    const [start, last] = [await file.place(0), await file.place(records - 1)];
    return new BtsFile(source, extended, records, start, last + 1);
  }

  get info(): BranchFileInfo {
    return {
      file: this.source.name,
      format: this.extended ? "bts-extended" : "bts",
      bytes: this.source.size,
      version: undefined,
      tape: undefined,
      arch: undefined,
      qemu: undefined,
      selection: "all",
      chunks: 0,
      records: this.records,
      start: { brctr: brctr(this.start), icount: undefined },
      end: { brctr: brctr(this.end), icount: undefined },
      kinds: undefined,
      whole: this.partial === 0,
      damage: this.damage,
    };
  }

  /** Bytes of a partial record at the end. */
  get partial(): number {
    return this.source.size % btsLayout.size;
  }

  private get damage(): BranchFileDamage | undefined {
    if (this.partial === 0) return undefined;
    const what = `it ends with ${this.partial} bytes of a partial record`;
    return { offset: this.source.size - this.partial, what, brctr: brctr(this.end) };
  }

  async seek(wanted: bigint | number): Promise<void> {
    const place = Number(wanted);
    if (!this.extended) {
      this.cursor = Math.max(0, Math.min(place, this.records));
      return;
    }
    let low = 0;
    let high = this.records;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.place(middle)) < place) low = middle + 1;
      else high = middle;
    }
    this.cursor = low;
  }

  seekIcount(): Promise<Brctr> {
    const { name } = this.source;
    return Promise.reject(
      new VmtapeError("unsupported", `${name} tells no instruction counts: it is a BTS file`, { file: name }),
    );
  }

  async read(batch: BranchBatch): Promise<number> {
    batch.clear();
    const wanted = Math.min(batch.capacity, this.records - this.cursor);
    if (wanted <= 0) return 0;
    const length = wanted * btsLayout.size;
    if (this.buffer.length < length) this.buffer = new Uint8Array(length);
    const filled = await this.source.read(this.offset(this.cursor), this.buffer.subarray(0, length));
    const bytes = this.buffer.subarray(0, filled);
    const count = decodeBts(bytes, batch, this.extended, this.cursor, this.source.name);
    this.cursor += count;
    return count;
  }

  async readAt(wanted: bigint | number, batch: BranchBatch): Promise<number> {
    await this.seek(wanted);
    return this.read(batch);
  }

  batches(range?: BranchRange, batch?: BranchBatch): AsyncGenerator<BranchBatch, void, undefined> {
    return batchesOf(this, range, batch);
  }

  async check(options: BranchCheckOptions = {}): Promise<BranchFileCheck> {
    const batch = new BranchBatch();
    let damage = this.damage;
    let before = 0;
    let records = 0;
    this.cursor = 0;
    while ((await this.read(batch)) > 0) {
      throwIfAborted(options.signal);
      for (let i = 0; i < batch.length; i++) {
        const place = batch.brctrAt(i);
        if (place < before && (!damage || damage.brctr === brctr(this.end))) {
          const offset = this.offset(records + i);
          damage = { offset, what: "its branch counts go down", brctr: brctr(place) };
        }
        before = place;
      }
      records += batch.length;
      options.onProgress?.(records, this.records);
    }
    this.cursor = 0;
    return { ok: !damage, records, chunks: 0, badChunks: 0, kinds: { unknown: records }, damage };
  }

  async close(): Promise<void> {
    await this.source[Symbol.asyncDispose]?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private offset(record: number): number {
    return (record + (this.extended ? 1 : 0)) * btsLayout.size;
  }

  /** brctr of a record of an extended file. */
  private async place(record: number): Promise<number> {
    const bytes = new Uint8Array(btsLayout.size);
    const one = new BranchBatch(1);
    const length = await this.source.read(this.offset(record), bytes);
    decodeBts(bytes.subarray(0, length), one, true, 0, this.source.name);
    return one.first;
  }
}
