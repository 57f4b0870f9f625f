import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import type { Timeline } from "../../replay/timeline/timeline.js";
import type { Tape } from "../../tape/tape.js";
import { LinuxGuest } from "../guest/linux-guest.js";
import { stoppedTimeline } from "../guest/stopped-timeline.js";
import type { TapeSymbols } from "./tape-symbols.js";

/** A tape where its timeline stands, with names. */
export interface TapeInstant {
  readonly tape: Tape;
  readonly timeline: Timeline;
  readonly symbols: TapeSymbols;
}

/** The guest's Linux where a timeline stands. @throws VmtapeError `not-found` when none runs there */
export async function linuxOf({ tape, timeline, symbols }: TapeInstant): Promise<LinuxGuest> {
  const { kernel, place } = symbols;
  if (!kernel) {
    throw new VmtapeError("not-found", `the tape ${tape.name} holds no Linux kernel with symbols`, {
      file: tape.layout.kernel,
    });
  }
  return LinuxGuest.at(await stoppedTimeline(timeline), { symbols: kernel, types: undefined }, place);
}

/** The same, as far as its place is known; undefined when none runs there. */
export async function findLinux({ timeline, symbols }: TapeInstant): Promise<LinuxGuest | undefined> {
  const { kernel, place } = symbols;
  if (!kernel || !place) return undefined;
  try {
    return await LinuxGuest.at(await stoppedTimeline(timeline), { symbols: kernel, types: undefined }, place);
  } catch (error) {
    if (isVmtapeError(error) && error.class !== "cancelled") return undefined;
    throw error;
  }
}
