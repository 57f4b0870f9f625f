import { VmtapeError } from "../errors.js";
import { decompressBzip2, isBzip2 } from "./bzip2.js";
import { decompressGzip } from "./gzip.js";
import { decompressLz4Legacy, isLz4Legacy } from "./lz4.js";
import { decompressLzmaAlone, isLzmaAlone } from "./lzma-alone.js";
import { decompressLzo, isLzo } from "./lzo.js";
import type { Decompressed, OutputLimits } from "./output.js";
import { decompressXz, isXz } from "./xz.js";
import { decompressZstd, isZstd } from "./zstd.js";

/** The compressed formats of kernels, modules and initramfs archives. */
export type CompressionFormat = "gzip" | "xz" | "zstd" | "lz4" | "lzma" | "lzo" | "bzip2";

/** Which compressed format the bytes start with, told by their magic number; undefined for none. */
export function compressionOf(bytes: Uint8Array): CompressionFormat | undefined {
  if (bytes[0] === 0x1f && (bytes[1] === 0x8b || bytes[1] === 0x9e)) return "gzip";
  if (isXz(bytes)) return "xz";
  if (isZstd(bytes)) return "zstd";
  if (isLz4Legacy(bytes)) return "lz4";
  if (isLzo(bytes)) return "lzo";
  if (isBzip2(bytes)) return "bzip2";
  if (isLzmaAlone(bytes)) return "lzma";
  return undefined;
}

/**
 * Unpacks one compressed stream that starts at the first byte.
 *
 * @throws VmtapeError `bad-file` for damaged data, `limit-exceeded`
 */
export function decompress(input: Uint8Array, limits: OutputLimits): Decompressed {
  const format = compressionOf(input);
  switch (format) {
    case "gzip":
      return decompressGzip(input, limits);
    case "xz":
      return decompressXz(input, limits);
    case "zstd":
      return decompressZstd(input, limits);
    case "lz4":
      return decompressLz4Legacy(input, limits);
    case "lzma":
      return decompressLzmaAlone(input, limits);
    case "lzo":
      return decompressLzo(input, limits);
    case "bzip2":
      return decompressBzip2(input, limits);
    case undefined:
      throw new VmtapeError("bad-file", "the data is in no compressed format known here");
  }
}
