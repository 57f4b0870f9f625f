import { type Decompressed, damaged, Output, type OutputLimits } from "./output.js";

/**
 * Reader of lzop files, the kind kernels are packed in. Sources: Documentation/staging/lzo.rst and
 * lib/decompress_unlzo.c of Linux. All numbers are big-endian.
 *
 *     magic, u16 version, u16 library, [u16 needed], u8 method, [u8 level], u32 flags, [u32 filter], u32 mode,
 *     u32 time, [u32 time high], u8 length, name, u32 checksum, [extra field]
 *     for each block: u32 unpacked size, 0 at the end; u32 packed size; checksums by the flags; data
 */
const magic = [0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a] as const;
/** The first version with the fields in brackets above. */
const longVersion = 0x0940;
const flag = {
  adlerUnpacked: 1 << 0,
  adlerPacked: 1 << 1,
  extraField: 1 << 6,
  crcUnpacked: 1 << 8,
  crcPacked: 1 << 9,
  filter: 1 << 11,
} as const;
/** LZO1X in three strengths; one way to unpack them. */
const methods: ReadonlySet<number> = new Set([1, 2, 3]);
const largestBlock = 64 << 20;

/** Whether the bytes start an lzop file. */
export function isLzo(bytes: Uint8Array): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/**
 * Unpacks one file. About 100 MB/s.
 *
 * @throws VmtapeError `bad-file`, `limit-exceeded`
 */
export function decompressLzo(input: Uint8Array, limits: OutputLimits): Decompressed {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const u32 = (at: number) => {
    if (at + 4 > input.length) throw damaged("lzo", "it ends early");
    return view.getUint32(at);
  };
  const { flags, end } = readHeader(input, view);
  const output = new Output(input.length, limits);
  let used = 0;
  let at = end;
  for (;;) {
    const size = u32(at);
    at += 4;
    if (size === 0) break;
    const packed = u32(at);
    at += 4;
    if (size > largestBlock || packed > size) throw damaged("lzo", "a block is too large");
    const adler = flags & flag.adlerUnpacked ? u32(at) : undefined;
    if (adler !== undefined) at += 4;
    if (flags & flag.crcUnpacked) at += 4;
    if (packed < size) {
      if (flags & flag.adlerPacked) at += 4;
      if (flags & flag.crcPacked) at += 4;
    }
    if (at + packed > input.length) throw damaged("lzo", "it ends early");
    const bytes = output.reserve(used + size, used);
    if (packed === size) bytes.set(input.subarray(at, at + size), used);
    else decompressBlock(input, at, at + packed, bytes, used, used + size);
    if (adler !== undefined && adler32(bytes, used, used + size) !== adler) {
      throw damaged("lzo", "the checksum of a block is wrong");
    }
    at += packed;
    used += size;
    if (limits.enough?.(output.bytes, used)) break;
  }
  return { bytes: output.bytes.subarray(0, used), consumed: at };
}

function readHeader(input: Uint8Array, view: DataView): { readonly flags: number; readonly end: number } {
  const needs = (end: number) => {
    if (end > input.length) throw damaged("lzo", "the header is cut");
  };
  let at = magic.length;
  needs(at + 20);
  const isLong = view.getUint16(at) >= longVersion;
  at += isLong ? 6 : 4;
  if (!methods.has(input[at]!)) throw damaged("lzo", "it is packed by a method that is not known");
  at += isLong ? 2 : 1;
  const flags = view.getUint32(at);
  at += 4 + (flags & flag.filter ? 4 : 0) + 4 + (isLong ? 8 : 4);
  needs(at + 1);
  at += 1 + input[at]! + 4;
  if (flags & flag.extraField) {
    needs(at + 4);
    at += 4 + view.getUint32(at) + 4;
  }
  needs(at);
  return { flags, end: at };
}

/** Unpacks LZO1X from `[from, end)` to exactly `[start, limit)`, matches reaching no further back than `start`. */
function decompressBlock(
  input: Uint8Array,
  from: number,
  end: number,
  output: Uint8Array,
  start: number,
  limit: number,
): void {
  let at = from;
  let to = start;
  /** Literals copied by the last instruction; 4 stands for more. */
  let state = 0;
  const byte = () => {
    if (at >= end) throw damaged("lzo", "a block is cut");
    return input[at++]!;
  };
  const literals = (count: number) => {
    if (at + count > end || to + count > limit) throw damaged("lzo", "a block is cut");
    for (const stop = to + count; to < stop; ) output[to++] = input[at++]!;
  };
  /** A length whose bits are all 0 goes on in the bytes that follow: 255 for each zero, and the first that is none. */
  const longer = (base: number) => {
    let length = base;
    let one = byte();
    for (; one === 0; one = byte()) length += 255;
    return length + one;
  };

  const first = at < end ? input[at]! : 0;
  if (first > 17) {
    at++;
    literals(first - 17);
    state = Math.min(first - 17, 4);
  }
  for (;;) {
    const code = byte();
    let length: number;
    let distance: number;
    let next = code & 3;
    if (code >= 64) {
      length = (code >> 5) + 1;
      distance = ((code >> 2) & 7) + (byte() << 3) + 1;
    } else if (code >= 16) {
      const bits = code >= 32 ? 31 : 7;
      length = (code & bits || longer(bits)) + 2;
      const low = byte();
      const word = low | (byte() << 8);
      next = word & 3;
      if (code >= 32) {
        distance = (word >> 2) + 1;
      } else {
        distance = ((code & 8) << 11) + (word >> 2);
        if (distance === 0) {
          if (at !== end || to !== limit) throw damaged("lzo", "a block ends elsewhere than it says");
          return;
        }
        distance += 1 << 14;
      }
    } else if (state === 0) {
      literals((code || longer(15)) + 3);
      state = 4;
      continue;
    } else {
      length = state === 4 ? 3 : 2;
      distance = (code >> 2) + (byte() << 2) + (state === 4 ? 2049 : 1);
    }
    let source = to - distance;
    if (source < start) throw damaged("lzo", "a match reaches before its block");
    if (to + length > limit) throw damaged("lzo", "a block is too large");
    if (distance >= length && length > 32) {
      output.copyWithin(to, source, source + length);
      to += length;
    } else {
      for (const stop = to + length; to < stop; ) output[to++] = output[source++]!;
    }
    literals(next);
    state = next;
  }
}

const adlerModulus = 65521;
/** So many bytes may be summed before the sums must be reduced. */
const adlerRun = 3800;

function adler32(bytes: Uint8Array, start: number, end: number): number {
  let low = 1;
  let high = 0;
  for (let at = start; at < end; ) {
    for (const stop = Math.min(end, at + adlerRun); at < stop; at++) {
      low += bytes[at]!;
      high += low;
    }
    low %= adlerModulus;
    high %= adlerModulus;
  }
  return high * 65536 + low;
}
