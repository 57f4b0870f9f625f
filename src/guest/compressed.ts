/** Kernel modules as distributions pack them: plain, or compressed by gzip, xz or zstd. */
import { decompress } from "../base/compression/decompress.js";
import { VmtapeError } from "../base/errors.js";

/** The largest size of an unpacked module. The largest of Debian's has some 10 MB. */
const maximum = 256 << 20;

/** The suffixes `unpack` knows, "" included. */
export const compressedSuffixes = ["", ".gz", ".xz", ".zst"] as const;

/**
 * The contents of a file that may be compressed, told by its name's suffix.
 *
 * @throws VmtapeError `bad-file` when the data are damaged or unpack to more than 256 MB
 */
export async function unpack(bytes: Uint8Array, file: string): Promise<Uint8Array> {
  if (!compressedSuffixes.some((suffix) => suffix !== "" && file.endsWith(suffix))) return bytes;
  try {
    return decompress(bytes, { maximum }).bytes;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new VmtapeError("bad-file", `${file} could not be decompressed: ${why}`, { file }, error);
  }
}
