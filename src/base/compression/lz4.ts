import { type Decompressed, damaged, Output, type OutputLimits } from "./output.js";

/**
 * Reader of LZ4's legacy frames, the kind kernels and initramfs archives use.
 * Source: lz4_Frame_format.md ("Legacy frame") and lz4_Block_format.md of the LZ4 project.
 */

const legacyMagic = 0x184c2102;
const legacyBlockSize = 8 << 20;

/** Whether the bytes start a legacy LZ4 frame. */
export function isLz4Legacy(bytes: Uint8Array): boolean {
  return bytes[0] === 0x02 && bytes[1] === 0x21 && bytes[2] === 0x4c && bytes[3] === 0x18;
}

/**
 * Unpacks a legacy frame: it ends at the end of the input, at a block size that cannot be one, or at another
 * magic number, since the format has no end mark. About 400 MB/s.
 *
 * @throws VmtapeError `bad-file`, `limit-exceeded`
 */
export function decompressLz4Legacy(input: Uint8Array, limits: OutputLimits): Decompressed {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const output = new Output(input.length, limits);
  let used = 0;
  let offset = 4;
  while (offset + 4 <= input.length) {
    const size = view.getUint32(offset, true);
    // Frames may be appended to each other; zeros are the padding of an initramfs.
    if (size === legacyMagic) {
      offset += 4;
      continue;
    }
    if (size === 0 || size > legacyBlockSize + legacyBlockSize / 255 + 16) break;
    if (offset + 4 + size > input.length) {
      // A kernel payload ends with its unpacked size, which is no block.
      if (offset + 4 === input.length) break;
      throw damaged("lz4", "it ends early");
    }
    offset += 4;
    used = decompressBlock(input, offset, offset + size, output, used);
    offset += size;
    if (limits.enough?.(output.bytes, used)) break;
  }
  if (used === 0) throw damaged("lz4", "it ends early");
  return { bytes: output.bytes.subarray(0, used), consumed: offset };
}

/** Unpacks one block to `start`, matches reaching no further back than its start; gives back the new end. */
function decompressBlock(
  input: Uint8Array,
  from: number,
  end: number,
  target: Output,
  start: number,
): number {
  let output = target.reserve(Math.min(start + legacyBlockSize, target.maximum), start);
  const limit = start + legacyBlockSize;
  let offset = from;
  let position = start;
  while (offset < end) {
    const token = input[offset++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let byte = 255;
      while (byte === 255 && offset < end) {
        byte = input[offset++]!;
        literals += byte;
      }
    }
    if (offset + literals > end || position + literals > limit) throw damaged("lz4", "a block is cut");
    if (position + literals > output.length) output = target.reserve(position + literals, position);
    if (literals > 32) {
      output.set(input.subarray(offset, offset + literals), position);
      position += literals;
      offset += literals;
    } else {
      for (const stop = offset + literals; offset < stop; ) output[position++] = input[offset++]!;
    }
    if (offset === end) return position;
    if (offset + 2 > end) throw damaged("lz4", "a block is cut");
    const distance = input[offset]! | (input[offset + 1]! << 8);
    offset += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let byte = 255;
      while (byte === 255 && offset < end) {
        byte = input[offset++]!;
        length += byte;
      }
    }
    let source = position - distance;
    if (distance === 0 || source < start) throw damaged("lz4", "a match reaches before its block");
    const stop = position + length;
    if (stop > limit) throw damaged("lz4", "a block is too large");
    if (stop > output.length) output = target.reserve(stop, position);
    if (length > 32 && distance >= length) {
      output.copyWithin(position, source, source + length);
      position = stop;
    } else {
      while (position < stop) output[position++] = output[source++]!;
    }
  }
  throw damaged("lz4", "a block ends without its last literals");
}
