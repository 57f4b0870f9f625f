import { type Icount, icount } from "../../base/units.js";

/** A search halves its stretch, so 40 rounds narrow down more instructions than any tape has. */
export const mostRounds = 40;

/** Two instants one of which is known to be the same in both runs, the other not. */
export interface Parting<Difference> {
  /** Equal here. */
  readonly from: Icount;
  /** Different here; the first such instant when it is `from` + 1. */
  readonly to: Icount;
  readonly difference: Difference;
}

/**
 * Narrows down where two runs parted by bisection: asks at the middle until the two instants are one instruction
 * apart, or {@link mostRounds} times. Each question costs two fresh replays to that instant.
 *
 * @param compare how the runs differ at an instant, or undefined when they do not
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
