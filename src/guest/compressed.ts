/** Kernel modules as distributions pack them: plain, or compressed by gzip, xz or zstd. */
import { gunzipSync } from "node:zlib";
import { decompress as decompressZstd } from "fzstd";
import xz from "xz-decompress";
import { VmtapeError } from "../base/errors.js";

/** Largest module unpacked: the largest of Debian's has some 10 MB. */
const maxUnpacked = 256 << 20;

/** The suffixes `unpack` knows, "" included. */
export const compressedSuffixes = ["", ".gz", ".xz", ".zst"] as const;

/**
 * The contents of a file that may be compressed, told by its name's suffix.
 *
 * @throws VmtapeError `bad-file` when the data are damaged or unpack to more than 256 MB
 */
export async function unpack(bytes: Uint8Array, file: string): Promise<Uint8Array> {
  try {
    if (file.endsWith(".xz")) return await unpackXz(bytes);
    if (file.endsWith(".zst")) return decompressZstd(bytes);
    if (file.endsWith(".gz")) return gunzipSync(bytes, { maxOutputLength: maxUnpacked });
    return bytes;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new VmtapeError("bad-file", `${file} could not be decompressed: ${why}`, { file }, error);
  }
}

async function unpackXz(bytes: Uint8Array): Promise<Uint8Array> {
  const input = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = new xz.XzReadableStream(input).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(pieces);
    length += value.length;
    if (length > maxUnpacked) throw new Error(`more than ${maxUnpacked} bytes`);
    pieces.push(value);
  }
}
