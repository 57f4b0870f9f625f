import { openFileSource } from "../base/byte-source.js";
import { VmtapeError } from "../base/errors.js";
import { isBranchLog } from "../formats/branch-log-layout.js";
import { BranchLog } from "./branch-log.js";
import type { BranchReader } from "./branch-reader.js";
import { BtsFile } from "./bts-file.js";

/**
 * Opens a file of branch records, ours or BTS, by what its first bytes say.
 *
 * @param options.tape the UUID of the tape a branch log must belong to; a BTS file tells none and is taken
 * @throws `bad-file` for what cannot be read or is neither, `unsupported` for a later version
 */
export async function openBranches(
  path: string,
  options: { readonly tape?: string } = {},
): Promise<BranchReader> {
  const source = await openFileSource(path);
  try {
    const first = new Uint8Array(8);
    if ((await source.read(0, first)) === 0) {
      throw new VmtapeError("bad-file", `${path} is empty`, { file: path, offset: 0 });
    }
    return isBranchLog(first) ? await BranchLog.over(source, options) : await BtsFile.over(source);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}
