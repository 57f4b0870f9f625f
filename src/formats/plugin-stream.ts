/**
 * What the branch plugin sends, all little-endian. The data stream has whole chunks as they stand in a branch log
 * (`branch-log-layout.ts`), then one end marker as long as a chunk's header; plugin/branches/branch-stream.h has the same table.
 */

/** "BFIN" */
export const streamEndMagic = 0x4e494642;

/** The end marker, after its magic number. */
export const streamEndLayout = { reason: 4, brctr: 8, icount: 16, records: 24, unexplained: 32 } as const;

/** Why a stream ended, by code. */
export const streamEndReasons = [undefined, "window", "closed", "run"] as const;

/** A chunk of 2^19 records at 64 bytes each, and some: more is no chunk. */
export const longestStreamPayload = 40 << 20;

/** A probe's hit, on a stream of its own; what was collected follows the header. plugin/branches/hits.h has the same table. */
export const hitLayout = {
  /** Bytes of the whole record, a multiple of 8. */
  size: 0,
  id: 4,
  icount: 8,
  brctr: 16,
  pc: 24,
  number: 32,
  flags: 40,
  /** Of the access, as the next two. */
  length: 44,
  /** Without an access: iterations done of a `rep` instruction. */
  address: 48,
  physical: 56,
  headerBytes: 64,
} as const;

export const hitFlags = { write: 1, failed: 2, access: 4, physical: 8, delivery: 16, stops: 32 } as const;

/** The brctr of a hit while branches are not followed. */
export const noBrctr = 0xffff_ffff_ffff_ffffn;

/** No record of a hit has more bytes. */
export const longestHit = 1 << 19;

/** Before each collected piece, whose bytes are padded to 8. */
export const hitPieceLayout = { size: 0, state: 4, headerBytes: 8 } as const;

/** What became of a piece, by code. `cut`: there is more than was asked for at most. */
export const hitPieceStates = ["unreadable", "whole", "cut"] as const;
