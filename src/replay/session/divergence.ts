import { openFileSource } from "../../base/byte-source.js";
import { noLinks } from "../../base/regular-file.js";
import type { Icount } from "../../base/units.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { readReplayLog } from "../../formats/replay-log-reader.js";
import type { StateHash } from "../../qemu/state-hash.js";
import type { Tape } from "../../tape/tape.js";

/** The first position where a replay is known to differ from its tape, with what was expected and what came. */
export interface Divergence {
  readonly icount: Icount;
  readonly what: string;
  readonly expected: string | undefined;
  readonly got: string | undefined;
  /** A file of the tape is damaged. Whether the recording would replay is not known then. */
  readonly damage?: true;
}

/** How two states that should be equal differ. */
export interface StateDifference {
  readonly what: string;
  readonly values: { readonly expected: string; readonly got: string };
}

/** The first difference between two states that should be equal; undefined when they are. */
export function firstDifference(expected: StateHash, got: StateHash): StateDifference | undefined {
  const parts = [
    ["icount", "icount", String(expected.icount), String(got.icount)],
    ["registers", "registers differ", expected.registers, got.registers],
    ["memory", "memory differs", expected.memory, got.memory],
  ] as const;
  for (const [, what, want, have] of parts) {
    if (want !== have) return { what, values: { expected: want, got: have } };
  }
  return undefined;
}

/** The tape's next event at or after `at`, in words: what the replay should have come to. */
export async function nextEvent(tape: Tape, at: Icount): Promise<string> {
  await using source = await openFileSource(tape.layout.log, noLinks);
  try {
    for await (const event of readReplayLog(source, dialectFor(tape.manifest.qemu.version), { from: at })) {
      if (event.kind !== "instruction")
        return `event ${event.index} (${event.kind}) at icount ${event.icount}`;
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return `the end of the log at icount ${tape.end.at}`;
}
