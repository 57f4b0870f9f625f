import * as zlib from "node:zlib";

/** zlib's own CRC-32, which Node has since 20.15: about 1 GB/s where the table below does 0.4. */
const nativeCrc32 = (zlib as { crc32?: (data: Uint8Array, value?: number) => number }).crc32;

const crc32Table = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 (IEEE 802.3) of the bytes, or of what had the CRC `before` and these bytes after it. */
export function crc32(data: Uint8Array, before = 0): number {
  if (nativeCrc32) return nativeCrc32(data, before) >>> 0;
  let value = ~before;
  for (let i = 0; i < data.length; i++) value = (value >>> 8) ^ crc32Table[(value ^ data[i]!) & 0xff]!;
  return ~value >>> 0;
}

const crc64Low = new Uint32Array(256);
const crc64High = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let low = byte;
  let high = 0;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carry) {
      low ^= 0xd7870f42;
      high ^= 0xc96c5795;
    }
  }
  crc64Low[byte] = low;
  crc64High[byte] = high;
}

/** CRC-64 (ECMA-182, reflected, as in .xz) of the bytes, as [low, high] words. */
export function crc64(data: Uint8Array): readonly [number, number] {
  let low = ~0;
  let high = ~0;
  for (let i = 0; i < data.length; i++) {
    const index = (low ^ data[i]!) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ crc64Low[index]!;
    high = (high >>> 8) ^ crc64High[index]!;
  }
  return [~low >>> 0, ~high >>> 0];
}
