import { VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import { BranchLog } from "./branch-log.js";
import { type BranchLogSummary, BranchLogWriter } from "./branch-log-writer.js";

/**
 * Joins logs of one tape that follow each other into one: the bytes are those that one run over all of it would
 * have written. Whole chunks are copied; where two logs meet within a chunk, that chunk is encoded anew.
 *
 * @param paths in order
 * @param output appears when it is complete
 * @throws `bad-file` when one does not begin where the one before ends, is damaged or of another tape;
 *   `disk-full`, `not-writable`, `cancelled`
 */
export async function joinBranchLogs(
  paths: readonly string[],
  output: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<BranchLogSummary> {
  if (paths.length === 0) throw new VmtapeError("usage", "no branch logs to join");
  await using first = await BranchLog.open(paths[0]!);
  await using writer = await BranchLogWriter.create(output, first.header, options);
  let end = await copyChunks(first, writer, options.signal);
  for (const path of paths.slice(1)) {
    await using log = await BranchLog.open(path);
    requireFollows(first, log, end);
    end = await copyChunks(log, writer, options.signal);
  }
  return await writer.finish(end);
}

interface End {
  readonly brctr: number;
  readonly icount: number;
}

async function copyChunks(
  log: BranchLog,
  writer: BranchLogWriter,
  signal: AbortSignal | undefined,
): Promise<End> {
  const { info } = log;
  if (!info.whole) {
    throw new VmtapeError("bad-file", `${info.file} is not whole: ${info.damage?.what}`, {
      file: info.file,
      offset: info.damage?.offset,
    });
  }
  for (let number = 0; number < log.chunkCount; number++) {
    throwIfAborted(signal);
    await writer.addChunk((await log.rawChunk(number)).bytes, `${info.file}: chunk ${number}`);
  }
  return { brctr: Number(info.end.brctr), icount: Number(info.end.icount ?? 0n) };
}

function requireFollows(first: BranchLog, log: BranchLog, end: End): void {
  const { header } = log;
  const file = log.info.file;
  for (const fact of ["tape", "arch", "qemu", "selection", "chunkBits", "icounts"] as const) {
    if (header[fact] !== first.header[fact]) {
      throw new VmtapeError(
        "bad-file",
        `${file} does not belong to ${first.info.file}: its ${fact} differs`,
        {
          file,
          expected: String(first.header[fact]),
          got: String(header[fact]),
        },
      );
    }
  }
  if (header.startBrctr !== end.brctr || header.startIcount !== end.icount) {
    throw new VmtapeError(
      "bad-file",
      `${file} begins at brctr ${header.startBrctr}, but the log before it ends at ${end.brctr}`,
      { file, expected: `${end.brctr} @${end.icount}`, got: `${header.startBrctr} @${header.startIcount}` },
    );
  }
}
