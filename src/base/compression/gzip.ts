import { inflateRawSync } from "node:zlib";
import { errnoOf } from "../errors.js";
import { crc32 } from "./checksum.js";
import { type Decompressed, damaged, type OutputLimits, tooLarge } from "./output.js";

/**
 * Reader of one gzip member by node's zlib. Source: RFC 1952. It also tells where the member ends, which zlib's own
 * function does not.
 */

const headerSize = 10;
const trailerSize = 8;
const hasHeaderChecksum = 0x02;
const hasExtra = 0x04;
const hasName = 0x08;
const hasComment = 0x10;

/** @throws VmtapeError `bad-file`, `limit-exceeded` */
export function decompressGzip(input: Uint8Array, limits: OutputLimits): Decompressed {
  const start = dataOffset(input);
  let result: { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
  try {
    // The typings do not know that `info` changes the result.
    result = inflateRawSync(input.subarray(start), {
      info: true,
      maxOutputLength: limits.maximum,
    }) as unknown as typeof result;
  } catch (error) {
    if (errnoOf(error) === "ERR_BUFFER_TOO_LARGE") {
      throw tooLarge(limits.maximum);
    }
    throw damaged("gzip", errnoOf(error) === "Z_BUF_ERROR" ? "it ends early" : "it cannot be unpacked");
  }
  const end = start + result.engine.bytesWritten;
  if (end + trailerSize > input.length) throw damaged("gzip", "it ends early");
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (view.getUint32(end, true) !== crc32(result.buffer)) {
    throw damaged("gzip", "the checksum of the contents is wrong");
  }
  return { bytes: result.buffer, consumed: end + trailerSize };
}

/** Offset of the compressed data, after the header's optional fields. */
function dataOffset(input: Uint8Array): number {
  const flags = input[3] ?? 0;
  let offset = headerSize;
  if (flags & hasExtra) offset += 2 + (input[offset] ?? 0) + (input[offset + 1] ?? 0) * 256;
  for (const field of [hasName, hasComment]) {
    if (!(flags & field)) continue;
    const end = input.indexOf(0, offset);
    if (end < 0) throw damaged("gzip", "the header is cut");
    offset = end + 1;
  }
  if (flags & hasHeaderChecksum) offset += 2;
  if (offset >= input.length || input[2] !== 8) throw damaged("gzip", "the header is cut");
  return offset;
}
