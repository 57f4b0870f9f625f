import { type FileHandle, open } from "node:fs/promises";
import { fileError, VmtapeError } from "../base/errors.js";
import { branchKinds } from "../formats/branch.js";
import { fileHeaderLayout, type IndexEntry } from "../formats/branch-log-layout.js";
import { BranchLog } from "./branch-log.js";
import { type BranchLogOutput, BranchLogWriter } from "./branch-log-writer.js";

/**
 * Opens a branch log to add what follows its end. A log whose writer was killed goes on after its last whole
 * chunk. Index and trailer are cut off with the first write, and a writer that is dropped leaves a log without
 * them: whole up to its last chunk.
 *
 * @param options.tape the UUID of the tape it must belong to
 * @throws `bad-file`, `unsupported`, `not-writable`
 */
export async function appendBranchLog(
  path: string,
  options: { readonly tape?: string } = {},
): Promise<BranchLogWriter> {
  await using log = await BranchLog.open(path, options);
  const { info, header } = log;
  if (info.damage && info.whole) {
    throw new VmtapeError("bad-file", `${path} is damaged: ${info.damage.what}`, {
      file: path,
      offset: info.damage.offset,
    });
  }
  const kinds = new Array<number>(branchKinds.length).fill(0);
  const entries: IndexEntry[] = [];
  for (let number = 0; number + 1 < log.chunkCount; number++) {
    const chunk = await log.rawChunk(number);
    entries.push(await log.chunkEntry(number));
    for (const [code, count] of chunk.header.kinds.entries()) kinds[code]! += count;
  }
  const last = log.chunkCount > 0 ? await log.rawChunk(log.chunkCount - 1) : undefined;
  const offset = last?.offset ?? fileHeaderLayout.size;
  return BranchLogWriter.resume(await TailOutput.open(path, offset), header, {
    entries,
    kinds,
    offset,
    held: last && { header: last.header, bytes: last.bytes.slice() },
    endBrctr: Number(info.end.brctr),
    endIcount: Number(info.end.icount ?? 0n),
  });
}

/** Writes to a file from an offset on; what was there is cut off at the first write. */
class TailOutput implements BranchLogOutput {
  private cut = false;

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private offset: number,
  ) {}

  static async open(path: string, offset: number): Promise<TailOutput> {
    try {
      return new TailOutput(path, await open(path, "r+"), offset);
    } catch (error) {
      throw fileError(error, path, "writing");
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      if (!this.cut) await this.handle.truncate(this.offset);
      this.cut = true;
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(bytes, at, bytes.length - at, this.offset);
        at += bytesWritten;
        this.offset += bytesWritten;
      }
    } catch (error) {
      throw fileError(error, this.path, "writing");
    }
  }

  async commit(): Promise<void> {
    await this.handle.datasync().catch((error: unknown) => {
      throw fileError(error, this.path, "writing");
    });
    await this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close().catch(() => {});
  }
}
