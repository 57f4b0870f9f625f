import { type ReplayLogDialect, unknownCode } from "./replay-log-dialect.js";
import { eventKinds, inputLayout, inputTypes, kindLayouts, sampleSize } from "./replay-log-layout.js";

/** How long an event is, from its first bytes. For the scanner's hot loop: numbers only, nothing allocated. */

/** The bytes given do not say the length: more are needed. */
export const needsMore = -1;
/** The bytes given are no event of any kind. */
export const isNoEvent = -2;

/** Kind byte → length of the whole event where the kind alone says it; else 0. */
export function fixedLengths(dialect: ReplayLogDialect): Uint8Array {
  return Uint8Array.from(dialect.codes, (code) => {
    const kind = eventKinds[code];
    if (kind === undefined) return 0;
    const layout = kindLayouts[kind];
    return "rest" in layout ? 0 : 1 + layout.fixed;
  });
}

/**
 * Length of the event at `at` of a view, for a kind that says its own length.
 *
 * @param limit end of the bytes in the view
 * @param code the kind's code, or `unknownCode`
 * @returns bytes, kind byte included, possibly far more than the view or the file has; or `needsMore`, `isNoEvent`
 */
export function measureEvent(view: DataView, at: number, limit: number, code: number): number {
  if (code === unknownCode) return isNoEvent;
  const layout = kindLayouts[eventKinds[code]!];
  const head = 1 + layout.fixed;
  if (at + head > limit) return needsMore;
  switch ("rest" in layout && layout.rest) {
    case "array":
      return head + view.getUint32(at + head - 4);
    case "samples":
      return head + sampleSize * (view.getUint32(at + 1) * 2 ** 32 + view.getUint32(at + 5));
    case "input": {
      const rest = measureInput(view, at + head, limit, view.getUint32(at + 1));
      if (rest < 0) return rest;
      return at + head + rest > limit ? needsMore : head + rest;
    }
    default:
      return head;
  }
}

/** Length of what follows the type of an input event, at `at`. */
function measureInput(view: DataView, at: number, limit: number, type: number): number {
  const name = inputTypes[type];
  if (name === undefined) return isNoEvent;
  if (name !== "key") return inputLayout[name];
  if (at + 4 > limit) return needsMore;
  switch (inputLayout.keyValueKinds[view.getUint32(at)]) {
    case "number":
      return inputLayout.keyNumber;
    case "qcode":
      return inputLayout.keyQcode;
    default:
      return isNoEvent;
  }
}
