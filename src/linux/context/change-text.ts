import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { Position } from "../../replay/session/position.js";
import { positionToJson } from "../../replay/session/position.js";
import type { LastChange } from "./last-change.js";

/** A change in lines for people. */
export function changeLines(
  { what, position, kind, before, after }: LastChange,
  describe: (position: Position) => string,
): string[] {
  const how = {
    instruction: "",
    delivery: "  (delivery of an interrupt or exception)",
    unseen: "  and then without an instruction (a device's DMA, or the page walk)",
  }[kind];
  return [`${what}: ${before ?? "not readable"} -> ${after}`, `  ${describe(position)}${how}`];
}

/** The same as JSON has it. */
export function changeFacts(
  { what, position, kind, before, after }: LastChange,
  symbolAt: (pc: bigint) => string | undefined,
) {
  return {
    what,
    ...positionToJson(position),
    pc: hex(position.pc),
    symbol: symbolAt(position.pc) ?? null,
    kind,
    before: before ?? null,
    after,
  };
}

/** What says that nothing changed. */
export function unchanged(what: string): VmtapeError {
  return new VmtapeError("not-found", `${what} has not changed since the tape's start, @0`, { got: what });
}
