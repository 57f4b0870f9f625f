import { type Icount, icount } from "../../base/units.js";

/** Each round halves the stretch, so that 40 rounds are enough for 2^40 instructions, more than any tape has. */
export const mostRounds = 40;

/** Two instants: at the first one two runs were equal, at the second one they were not. */
export interface Parting<Difference> {
  /** Equal here. */
  readonly from: Icount;
  /** Different here. When this is `from` + 1, it is the first difference. */
  readonly to: Icount;
  readonly difference: Difference;
}

/**
 * Finds where two runs diverged, by bisection: compares them in the middle until the two instants are one instruction
 * apart, at most {@link mostRounds} times. Each comparison costs two new replays to that instant.
 *
 * @param compare tells how the runs differ at an icount; undefined when they do not
 */
export async function narrow<Difference>(
  parting: Parting<Difference>,
  compare: (at: Icount) => Promise<Difference | undefined>,
): Promise<Parting<Difference>> {
  let { from, to, difference } = parting;
  for (let round = 0; round < mostRounds && to - from > 1n; round++) {
    const middle = icount((from + to) / 2n);
    const found = await compare(middle);
    if (found === undefined) from = middle;
    else [to, difference] = [middle, found];
  }
  return { from, to, difference };
}
