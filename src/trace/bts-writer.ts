import type { BranchBatch } from "../formats/branch.js";
import { btsMark, encodeBts } from "../formats/bts-codec.js";
import type { BranchLogOutput, BranchLogSummary } from "./branch-log-writer.js";
import { OutputFile } from "./output-file.js";

/** Writes a BTS file, plain or extended; it appears when finished. */
export class BtsWriter implements AsyncDisposable {
  private records = 0;
  private bytes = 0;
  private finished = false;

  private constructor(
    private readonly output: BranchLogOutput,
    private readonly extended: boolean,
  ) {}

  /** @throws `not-writable`, `disk-full`, `bad-file` */
  static async create(path: string, extended: boolean): Promise<BtsWriter> {
    return BtsWriter.over(await OutputFile.create(path), extended);
  }

  /** The same over any output; the writer owns it. */
  static async over(output: BranchLogOutput, extended: boolean): Promise<BtsWriter> {
    const writer = new BtsWriter(output, extended);
    try {
      if (extended) await writer.put(btsMark());
    } catch (error) {
      await output[Symbol.asyncDispose]();
      throw error;
    }
    return writer;
  }

  async add(batch: BranchBatch, start = 0, end = batch.length): Promise<void> {
    if (start >= end) return;
    await this.put(encodeBts(batch, this.extended, start, end));
    this.records += end - start;
  }

  async finish(): Promise<BranchLogSummary> {
    await this.output.commit();
    this.finished = true;
    return { records: this.records, chunks: 0, bytes: this.bytes };
  }

  /** Without `finish` before it: drops the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.finished) await this.output[Symbol.asyncDispose]();
  }

  private async put(bytes: Uint8Array): Promise<void> {
    await this.output.write(bytes);
    this.bytes += bytes.length;
  }
}
