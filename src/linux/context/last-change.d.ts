import type { Stoppable } from "../../base/run-context.js";
import type { Position } from "../../replay/session/position.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { TapeInstant } from "../names/tape-instant.js";
/** The last change of a register or of an expression's value before an instant. */
export interface LastChange {
  readonly what: string;
  /** The instant before it; of `unseen`, that after which it happened. */
  readonly position: Position;
  /** `unseen`: no instruction did it: a device (DMA), or the page walk. */
  readonly kind: "instruction" | "delivery" | "unseen";
  /** As `print` shows it, registers as numbers; undefined where it could not be read before. */
  readonly before: string | undefined;
  readonly after: string;
}
/**
 * When and by what a register, or the value of an expression over memory, changed last before the instant where the timeline
 * stands, on the whole tape; it stands there again afterwards.
 *
 * An expression means what it means here: its registers, locals and address space are those of this instant, and so is the memory
 * whose past is looked through.
 *
 * Cost: for a register a replay of the stretch at some 3 to 10 times its plain duration; for an expression what
 * {@link pastOf} costs, for each write that left its value as it was.
 *
 * @param what a register of the `g` block (with or without `$`) or an expression
 * @returns undefined when it has not changed since the tape's start
 * @throws `usage` for an expression that reads no memory; everything that `print` throws; `cancelled`
 */
export declare function lastChangeOf(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  what: string,
  options?: Stoppable,
): Promise<LastChange | undefined>;
