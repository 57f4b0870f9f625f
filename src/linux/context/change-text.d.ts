import { VmtapeError } from "../../base/errors.js";
import type { Position } from "../../replay/session/position.js";
import type { LastChange } from "./last-change.js";
/** A change in lines for people. */
export declare function changeLines(
  { what, position, kind, before, after }: LastChange,
  describe: (position: Position) => string,
): string[];
/** The same as JSON has it. */
export declare function changeFacts(
  { what, position, kind, before, after }: LastChange,
  symbolAt: (pc: bigint) => string | undefined,
): {
  icount: number | string;
  brctr: number | string;
  rep: number | string;
  what: string;
  pc: string;
  symbol: string | null;
  kind: "delivery" | "instruction" | "unseen";
  before: string | null;
  after: string;
};
/** What says that nothing changed. */
export declare function unchanged(what: string): VmtapeError;
