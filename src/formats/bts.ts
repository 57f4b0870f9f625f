/**
 * BTS files, the interchange format of the original tools: records of 24 bytes, three little-endian u64.
 *
 *     0      8      16       24
 *     | from |  to  | format |
 *
 * Plain: `format` says nothing to us, and a record's brctr is its index. Extended: the first record is three
 * words of all ones, and in those that follow `format` is the brctr, in an order that never falls (the original
 * knew it only for groups of records, so several may share one).
 *
 * Source: the layouts of Stackdb's `tools/bts` as told in docs/FORMATS.md, "BTS".
 */
export const btsLayout = { from: 0, to: 8, format: 16, size: 24 } as const;

/** Is this the first record of an extended file? */
export function isBtsMark(record: Uint8Array): boolean {
  return record.length >= btsLayout.size && record.subarray(0, btsLayout.size).every((byte) => byte === 0xff);
}

/**
 * May this be a record of an x86 machine: are both addresses canonical, bits 47 to 63 all equal (or 56 to 63 with
 * five-level page tables)? Tells a BTS file, which has no magic, from other files.
 */
export function isBtsPlausible(record: Uint8Array): boolean {
  if (record.length < btsLayout.size) return false;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  return [btsLayout.from, btsLayout.to].every((at) => {
    const top = view.getInt32(at + 4, true) >> 24;
    return top === 0 || top === -1;
  });
}
