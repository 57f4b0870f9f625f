import { VmtapeError } from "../base/errors.js";
import type { InclusiveRange } from "./extract.js";

/** A branch count and how far around it. */
export interface BrctrAround {
  readonly value: number;
  readonly radius: number;
}

/**
 * A number in any base that C's `strtoull(text, &end, 0)` takes: `0x1f`, `017`, `15`.
 *
 * @param what names it in errors
 * @throws `usage` for anything else, and at 2^53 and above
 */
export function parseCNumber(text: string, what: string): number {
  const isNumber = /^(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i.test(text);
  const value = !isNumber ? Number.NaN : /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text);
  if (Number.isSafeInteger(value)) return value;
  const why = isNumber ? "is too large" : "is not a number (12, 0x1f, 017)";
  throw new VmtapeError("usage", `${what} ${why}: "${text.slice(0, 40)}"`, { got: text });
}

/** `VALUE[:RADIUS]`, both in any C base. */
export function parseBrctrAround(text: string, what: string): BrctrAround {
  const [value, radius, ...rest] = text.split(":");
  if (rest.length > 0)
    throw new VmtapeError("usage", `${what} is not VALUE[:RADIUS]: "${text.slice(0, 40)}"`);
  return {
    value: parseCNumber(value!, what),
    radius: radius === undefined ? 0 : parseCNumber(radius, `the radius of ${what}`),
  };
}

/**
 * The range of `-S` and `-E`: from the start less its radius to the end and its radius, both inclusive; what is left
 * out is open.
 *
 * @throws `usage` when the start lies beyond the end
 */
export function rangeAround(start: BrctrAround | undefined, end: BrctrAround | undefined): InclusiveRange {
  if (start && end && start.value > end.value) {
    throw new VmtapeError("usage", `the start ${start.value} lies beyond the end ${end.value}`, {
      expected: `at most ${end.value}`,
      got: String(start.value),
    });
  }
  return {
    first: start ? Math.max(0, start.value - start.radius) : 0,
    last: end ? Math.min(Number.MAX_SAFE_INTEGER - 1, end.value + end.radius) : undefined,
  };
}
