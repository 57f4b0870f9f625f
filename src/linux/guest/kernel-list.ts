import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { LinuxGuest } from "./linux-guest.js";

/**
 * Walks a `struct list_head`: gives the address of each node, not of the head. Only `next` is followed, which the
 * kernel keeps whole at every instant, in the middle of an insertion too; `prev` it does not. A node just removed
 * still leads back into the list.
 *
 * @param what for errors: "the list of tasks"
 * @throws VmtapeError `bad-memory` when the list leads to where nothing is mapped, into itself, or has more nodes than
 *   `most`
 */
export async function* listNodes(
  guest: LinuxGuest,
  head: bigint,
  what: string,
  most: number,
): AsyncGenerator<bigint> {
  const seen = new Set<bigint>();
  let at = head;
  for (;;) {
    const next = await guest.words.u64(at);
    if (next === undefined) throw broken(what, at, "nothing is mapped there");
    // A head that is all zero has not been set up yet.
    if (next === head || (at === head && next === 0n)) return;
    if (seen.has(next)) throw broken(what, next, "it leads back into itself");
    if (seen.size >= most) throw broken(what, next, `it has more than ${most} entries`);
    seen.add(next);
    yield next;
    at = next;
  }
}

function broken(what: string, address: bigint, why: string): VmtapeError {
  return new VmtapeError("bad-memory", `${what} is broken at ${hex(address)}: ${why}`, { address });
}
