import { VmtapeError } from "../../base/errors.js";
import type { Tape } from "../../tape/tape.js";

/** The error for an icount that is not on the tape. */
export function beyondEnd(at: bigint, tape: Tape): VmtapeError {
  return new VmtapeError("not-reached", `icount ${at} lies beyond the tape's end at ${tape.end.at}`, {
    expected: `at most ${tape.end.at}`,
    got: String(at),
  });
}
