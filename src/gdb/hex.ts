/** Numbers and bytes as the remote protocol writes them: hexadecimal without `0x`, numbers big-endian. */

/** 1 to 16 digits; undefined for anything else. */
export function parseHex(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** As {@link parseHex}, of a value below 2^53. */
export function parseHexCount(text: string | undefined): number | undefined {
  const value = parseHex(text);
  return value !== undefined && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

/** Reads two digits for each byte; undefined for an odd number of digits, or anything else. */
export function parseBytes(text: string): Uint8Array | undefined {
  return /^([0-9a-f]{2})*$/i.test(text) ? Buffer.from(text, "hex") : undefined;
}

export function formatBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** The bytes of a text in UTF-8, in hexadecimal. */
export function formatText(text: string): string {
  return Buffer.from(text, "utf8").toString("hex");
}
