/** What an x86-64 instruction does to the flow and the stack: as much as following a function to its return needs. */
export declare const effect: {
  /** Nothing of interest. */
  readonly none: 0;
  /** rsp moves by `amount`. */
  readonly moveSp: 1;
  /** rsp = rbp + `amount`. */
  readonly spFromBp: 2;
  /** `register` (DWARF number) is popped. */
  readonly pop: 3;
  /** rsp = rbp, then rbp is popped. */
  readonly leave: 4;
  readonly return: 5;
  /** To `amount` bytes from the next instruction; perhaps. */
  readonly branch: 6;
  readonly jump: 7;
  /** Where to is not known, or it never goes on. */
  readonly lost: 8;
  /** rsp becomes something not known. */
  readonly loseSp: 9;
};
/** One decoded instruction; an object used again. */
export interface Instruction {
  length: number;
  effect: number;
  amount: number;
  register: number;
}
/**
 * Decodes the instruction at `at`. The decoder is loaded by the first call (20 ms).
 *
 * @param at its address, or anything alike modulo the size of a page: bytes of the next page are read only if the
 *   instruction goes on there
 * @param byteAt a byte by its distance from `at`, -1 when it cannot be read
 * @returns false when it is none, or a byte cannot be read
 */
export declare function decodeInstruction(
  at: number,
  byteAt: (offset: number) => number,
  into: Instruction,
): boolean;
