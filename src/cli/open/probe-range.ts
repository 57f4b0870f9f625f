import { VmtapeError } from "../../base/errors.js";
import type { Icount } from "../../base/units.js";
import type { WrittenPosition } from "../../replay/session/position.js";

/** The beginning and end of the stretch that a command replays, as the user wrote them. */
export interface WrittenRange {
  readonly start: WrittenPosition | undefined;
  readonly end: WrittenPosition | undefined;
}

/**
 * Reads `--from` and `--to`. When both are numbers and the end lies before the start, it is refused at once, before a
 * tape is opened.
 *
 * @throws VmtapeError `usage`, `not-reached`
 */
export async function writtenRange(flags: {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}): Promise<WrittenRange> {
  const { parsePosition } = await import("../../replay/session/position.js");
  const [start, end] = [flags.from, flags.to].map((text) =>
    text === undefined ? undefined : parsePosition(text),
  );
  const isEarly = start?.kind === "end" && end !== undefined && end.kind !== "end";
  if (isEarly) throw new VmtapeError("not-reached", `the end (${flags.to}) lies before the start (end)`);
  requireForward(icountOf(start), icountOf(end));
  return { start, end };
}

/** The icount of a position that is a number; undefined for any other. */
function icountOf(position: WrittenPosition | undefined): bigint | undefined {
  if (position?.kind === "icount") return position.icount;
  return position?.kind === "start" ? 0n : undefined;
}

/** @throws VmtapeError `not-reached` */
export function requireForward(start: Icount | bigint | undefined, end: Icount | bigint | undefined): void {
  if (start === undefined || end === undefined || end >= start) return;
  throw new VmtapeError("not-reached", `the end (@${end}) lies before the start (@${start})`);
}
