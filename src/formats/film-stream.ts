/**
 * Films as the branch plugin sends them: words of 8 bytes, little-endian, in pieces that are hits of the id {@link filmRecordId}.
 * plugin/branches/film.h has the same table, and says what each entry means.
 */

/** Of hits that are a piece of a film. */
export const filmRecordId = 0xffff_ffff;

/** Types of entries: the upper 4 bits of their first word. */
export const filmEntries = { instant: 0, access: 1, delivery: 2, unsure: 3, code: 4, change: 5 } as const;

/** Of an instant: flags in the lower half of its first word; the lower 16 bits of the upper half tell how many words follow. */
export const filmInstantFlags = {
  many: 1 << 18,
  icount: 1 << 19,
  brctr: 1 << 20,
  rep: 1 << 21,
  again: 1 << 22,
  inferred: 1 << 23,
  vague: 1 << 24,
  pc: 1 << 25,
} as const;

/** Words of the `g` packet that the flags themselves can name: general registers, instruction pointer, flags with cs. */
export const filmShortWords = 18;
/** The instruction pointer's; without a value it is the instant's address. */
export const filmPointerWord = 16;

/** Of an access: bits 0 to 15 are its bytes. */
export const filmAccessFlags = { write: 1 << 16, mapped: 1 << 17, device: 1 << 18 } as const;

/** Why memory may have been written by something else, by code. */
export const filmDoubts = ["port", "device", "delivery", "management"] as const;

/** Of a change of the one register that is watched: bits 0 to 7 are its bytes. */
export const filmChangeFlags = { delivery: 1 << 8 } as const;
/** Words of such an entry: its head, icount, brctr, pc, rep, two of the value before, two of that after. */
export const filmChangeWords = 9;
