import { VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import { BranchBatch } from "../formats/branch.js";
import { firstAtLeast } from "./batches.js";
import { BranchLog } from "./branch-log.js";
import {
  type BranchLogFacts,
  type BranchLogOutput,
  type BranchLogSummary,
  BranchLogWriter,
} from "./branch-log-writer.js";
import type { BranchReader } from "./branch-reader.js";
import { BtsWriter } from "./bts-writer.js";
import { OutputFile } from "./output-file.js";

/** Formats that branch records can be written in. */
export type BranchOutputFormat = "vmtape" | "bts" | "bts-extended";

export interface ExtractOptions {
  readonly format?: BranchOutputFormat;
  readonly signal?: AbortSignal | undefined;
  /** Called with records done, often. */
  readonly onProgress?: (done: number) => void;
}

/** A range of brctr, both ends inclusive; `last` undefined: to the end. */
export interface InclusiveRange {
  readonly first: number;
  readonly last: number | undefined;
}

/**
 * Copies the records of a range into a file of its own, in any of the formats: successor of `bts_extract`, and the
 * conversion between them. Chunks that lie within the range are copied as they are.
 *
 * @param output a path (the file appears when it is complete) or an output, which is then owned
 * @throws `not-found` when no record lies in the range, `bad-file`, `disk-full`, `not-writable`, `cancelled`
 */
export async function extractBranches(
  reader: BranchReader,
  range: InclusiveRange,
  output: string | BranchLogOutput,
  options: ExtractOptions = {},
): Promise<BranchLogSummary> {
  const batch = new BranchBatch();
  const end = range.last === undefined ? Number.POSITIVE_INFINITY : range.last + 1;
  await reader.readAt(range.first, batch);
  if (batch.length === 0 || batch.brctrAt(0) >= end) {
    if (typeof output !== "string") await output[Symbol.asyncDispose]();
    throw emptyRange(reader, range);
  }
  const target = typeof output === "string" ? await OutputFile.create(output, options) : output;
  if (options.format === "bts" || options.format === "bts-extended") {
    await using writer = await BtsWriter.over(target, options.format === "bts-extended");
    await copyRecords(reader, batch, end, writer, options);
    return await writer.finish();
  }
  const facts = await factsFor(reader, range.first).catch(async (error: unknown) => {
    await target[Symbol.asyncDispose]();
    throw error;
  });
  await using writer = await BranchLogWriter.over(target, facts);
  if (reader instanceof BranchLog) {
    await copyChunks(reader, range.first, end, writer, options);
  } else {
    await reader.readAt(range.first, batch);
    await copyRecords(reader, batch, end, writer, options);
  }
  return await writer.finish(endOf(reader, end));
}

interface Sink {
  add(batch: BranchBatch, start?: number, end?: number): Promise<void>;
}

/** Copies the records at hand and those that follow, up to brctr `end`; the batch was filled by the reader. */
async function copyRecords(
  reader: BranchReader,
  batch: BranchBatch,
  end: number,
  sink: Sink,
  options: ExtractOptions,
): Promise<void> {
  let done = 0;
  do {
    throwIfAborted(options.signal);
    const count = firstAtLeast(batch, end);
    await sink.add(batch, 0, count);
    done += count;
    options.onProgress?.(done);
    if (count < batch.length) return;
  } while ((await reader.read(batch)) > 0);
}

/** The same from a branch log: whole chunks as they are. */
async function copyChunks(
  log: BranchLog,
  first: number,
  end: number,
  writer: BranchLogWriter,
  options: ExtractOptions,
): Promise<void> {
  const name = log.info.file;
  for (let number = await log.chunkAt(first); number < log.chunkCount; number++) {
    throwIfAborted(options.signal);
    const { header, bytes } = await log.rawChunk(number);
    if (header.firstBrctr >= end) return;
    if (header.firstBrctr >= first && header.lastBrctr < end) {
      await writer.addChunk(bytes, `${name}: chunk ${number}`);
    } else {
      const from = Math.max(first, header.firstBrctr);
      const to = Math.min(end, header.lastBrctr + 1);
      for await (const batch of log.batches({ from, to })) await writer.add(batch);
    }
    options.onProgress?.(writer.length);
  }
}

/**
 * Facts of the new log. It begins at the instant just after the record before its first, so that logs extracted
 * one after the other can be joined.
 */
async function factsFor(reader: BranchReader, first: number): Promise<BranchLogFacts> {
  const { info } = reader;
  const startBrctr = Math.max(first, Number(info.start.brctr));
  if (info.start.icount === undefined) return { ...headerOf(reader), startBrctr, startIcount: 0 };
  let startIcount = Number(info.start.icount);
  if (startBrctr > info.start.brctr) {
    const before = await lastBefore(reader, startBrctr);
    startIcount = before ?? startIcount;
  }
  return { ...headerOf(reader), startBrctr, startIcount };
}

/** icount of the last record below a brctr. */
async function lastBefore(reader: BranchReader, limit: number): Promise<number | undefined> {
  const log = reader as BranchLog;
  const one = new BranchBatch(1);
  if ((await reader.readAt(limit - 1, one)) > 0 && one.brctrAt(0) === limit - 1) return one.icount[0];
  let found: number | undefined;
  const chunk = await log.chunkEntry(await log.chunkAt(limit - 1));
  for await (const batch of reader.batches({ from: chunk.firstBrctr, to: limit })) {
    found = batch.icount[batch.length - 1];
  }
  return found;
}

function headerOf(reader: BranchReader): Partial<BranchLogFacts> {
  return reader instanceof BranchLog ? reader.header : { icounts: false };
}

function endOf(reader: BranchReader, end: number): { readonly brctr?: number; readonly icount?: number } {
  const { info } = reader;
  if (end < info.end.brctr) return info.selection === "all" ? {} : { brctr: end };
  if (info.end.icount === undefined) return {};
  return { brctr: Number(info.end.brctr), icount: Number(info.end.icount) };
}

function emptyRange(reader: BranchReader, range: InclusiveRange): VmtapeError {
  const { file, records, start, end } = reader.info;
  const asked = range.last === undefined ? `from ${range.first} on` : `from ${range.first} to ${range.last}`;
  const has = records === 0 ? "it holds none" : `it holds ${start.brctr} to ${end.brctr - 1n}`;
  return new VmtapeError("not-found", `${file} has no branch records ${asked}: ${has}`, { file });
}
