import { LzmaDecoder, lzmaProperties } from "./lzma.js";
import { type Decompressed, damaged, Output, type OutputLimits, tooLarge } from "./output.js";

/**
 * Reader of .lzma files (LZMA alone): properties byte, u32 dictionary size, u64 unpacked size or all ones, data.
 * Source: lzma-file-format.txt of XZ Utils.
 */
const headerSize = 13;
/** How many bytes are decoded before the room that is left is checked again. */
const step = 1 << 20;
const longestMatch = 273;

/**
 * Whether the bytes look like an .lzma file of a kernel: it has the default properties and a dictionary whose size is
 * a power of two.
 */
export function isLzmaAlone(bytes: Uint8Array): boolean {
  return (
    bytes.length > headerSize &&
    bytes[0] === 0x5d &&
    bytes[1] === 0 &&
    bytes[2] === 0 &&
    (bytes[12] === 0xff || bytes[12] === 0)
  );
}

/** @throws VmtapeError `bad-file`, `limit-exceeded` */
export function decompressLzmaAlone(input: Uint8Array, limits: OutputLimits): Decompressed {
  const properties = lzmaProperties(input[0] ?? 255);
  if (input.length < headerSize || !properties) throw damaged("lzma", "the header is cut");
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const written = view.getBigUint64(5, true);
  const size = written === 0xffff_ffff_ffff_ffffn ? undefined : Number(written);
  const expected = size ?? limits.expected;
  const { maximum } = limits;
  if (size !== undefined && size > maximum) throw tooLarge(maximum);
  // One byte beyond the limit shows that it is passed, and the match that holds it may run on.
  const room = { ...limits, maximum: maximum + 1 + longestMatch };
  const output = new Output(input.length, { ...room, ...(expected !== undefined && { expected }) });
  const decoder = new LzmaDecoder(output.bytes);
  decoder.inputOffset = headerSize;
  decoder.reset(properties);
  decoder.startRange(input);
  for (;;) {
    const next = Math.min(decoder.position + step, size ?? maximum + 1);
    const end = Math.min(next + longestMatch, size ?? room.maximum);
    decoder.output = output.reserve(end, decoder.position);
    const stop = decoder.decode(input, next, end);
    if (decoder.position > maximum) throw tooLarge(maximum);
    const done = stop === "end-marker" || decoder.position === size;
    if (done || limits.enough?.(output.bytes, decoder.position)) break;
  }
  return { bytes: output.bytes.subarray(0, decoder.position), consumed: decoder.inputOffset };
}
