import { VmtapeError } from "../../base/errors.js";
import type { NameList } from "./name-list.js";

/** One step of a pattern: a star, or a test of one character. */
type Step = "star" | ((character: string) => boolean);

/**
 * A test for a shell pattern over the whole name: `*` any characters, `?` one, `[abc]`, `[a-z]`, `[!abc]` one of a
 * set. At most pattern length × name length steps, whatever the pattern.
 *
 * @throws VmtapeError `usage` for a set that is not closed
 */
export function globTest(pattern: string): (name: string) => boolean {
  const steps = stepsOf(pattern);
  return (name) => {
    let at = 0;
    let step = 0;
    // Where to go on when a test fails: after the last star, which then takes one character more.
    let starStep = -1;
    let starAt = 0;
    while (at < name.length) {
      const current = steps[step];
      if (current === "star") {
        starStep = ++step;
        starAt = at;
      } else if (current?.(name[at]!)) {
        step++;
        at++;
      } else if (starStep >= 0) {
        step = starStep;
        at = ++starAt;
      } else {
        return false;
      }
    }
    while (steps[step] === "star") step++;
    return step === steps.length;
  };
}

function stepsOf(pattern: string): Step[] {
  const steps: Step[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!;
    if (character === "*") {
      steps.push("star");
    } else if (character === "?") {
      steps.push(() => true);
    } else if (character === "[") {
      const negated = pattern[i + 1] === "!";
      const start = i + (negated ? 2 : 1);
      // A ] right at the start is one of the set.
      const end = pattern.indexOf("]", start + 1);
      if (end < 0) throw new VmtapeError("usage", `the pattern ${pattern} has a [ without ]`, { pattern });
      const isMember = setTest(pattern.slice(start, end));
      steps.push((one) => isMember(one) !== negated);
      i = end;
    } else {
      steps.push((one) => one === character);
    }
  }
  return steps;
}

function setTest(set: string): (character: string) => boolean {
  const ranges: [string, string][] = [];
  for (let i = 0; i < set.length; i++) {
    const isRange = set[i + 1] === "-" && i + 2 < set.length;
    ranges.push([set[i]!, set[isRange ? i + 2 : i]!]);
    if (isRange) i += 2;
  }
  return (character) => ranges.some(([low, high]) => character >= low && character <= high);
}

/** Differences beyond this many are no slip of the finger. */
const mostEdits = 3;

/**
 * The names most like `name`: fewest edits first (insertion, deletion, exchange, swapped neighbours; letters' case
 * counts for nothing), then names that contain it, shortest first.
 */
export function nearestNames(name: string, lists: readonly NameList[], limit: number): string[] {
  const wanted = Buffer.from(name.toLowerCase());
  if (wanted.length === 0) return [];
  const allowed = Math.min(mostEdits, Math.max(1, Math.floor(wanted.length / 3)));
  const scores = new Map<string, number>();
  for (const list of lists) {
    const text = lowered(list.bytes);
    for (let i = 0; i < list.count; i++) {
      const start = list.starts[i]!;
      const end = list.ends[i]!;
      const score = scoreOf(wanted, text, start, end, allowed);
      if (score === undefined) continue;
      const candidate = list.at(i);
      scores.set(candidate, Math.min(score, scores.get(candidate) ?? score));
    }
  }
  return [...scores]
    .sort(([a, x], [b, y]) => x - y || a.length - b.length || (a < b ? -1 : 1))
    .slice(0, limit)
    .map(([candidate]) => candidate);
}

/** Edits where they are few; more than any edit count where it is only contained; undefined where neither. */
function scoreOf(
  wanted: Uint8Array,
  text: Buffer,
  start: number,
  end: number,
  allowed: number,
): number | undefined {
  const length = end - start;
  if (Math.abs(length - wanted.length) <= allowed) {
    const edits = editDistance(wanted, text, start, length, allowed);
    if (edits <= allowed) return edits;
  }
  if (wanted.length < 3 || length <= wanted.length) return undefined;
  const at = indexWithin(text, wanted, start, end);
  return at < 0 ? undefined : mostEdits + (at === start ? 1 : 2);
}

function indexWithin(text: Uint8Array, wanted: Uint8Array, start: number, end: number): number {
  const first = wanted[0]!;
  for (let i = start; i + wanted.length <= end; i++) {
    if (text[i] !== first) continue;
    let j = 1;
    while (j < wanted.length && text[i + j] === wanted[j]) j++;
    if (j === wanted.length) return i;
  }
  return -1;
}

/** Rows of the distance matrix, kept between calls. */
let rows = [new Int32Array(64), new Int32Array(64), new Int32Array(64)] as [
  Int32Array,
  Int32Array,
  Int32Array,
];

/**
 * Optimal string alignment distance, or more than `allowed` as soon as it must be. `text` is read from `start` on.
 */
export function editDistance(
  wanted: Uint8Array,
  text: Uint8Array,
  start: number,
  length: number,
  allowed: number,
): number {
  if (rows[0].length <= length + 1) {
    rows = [new Int32Array(length * 2), new Int32Array(length * 2), new Int32Array(length * 2)];
  }
  let [before, previous, current] = rows;
  for (let j = 0; j <= length; j++) previous[j] = j;
  for (let i = 1; i <= wanted.length; i++) {
    // Cells further than `allowed` from the diagonal cannot be part of a short way.
    const from = Math.max(1, i - allowed);
    const to = Math.min(length, i + allowed);
    current[from - 1] = from === 1 ? i : allowed + 1;
    if (to === i + allowed) previous[to] = allowed + 1;
    let least = current[from - 1]!;
    const letter = wanted[i - 1]!;
    for (let j = from; j <= to; j++) {
      const other = text[start + j - 1]!;
      let cost = previous[j - 1]! + (letter === other ? 0 : 1);
      cost = Math.min(cost, previous[j]! + 1, current[j - 1]! + 1);
      const swapped = i > 1 && j > 1 && letter === text[start + j - 2] && wanted[i - 2] === other;
      if (swapped) cost = Math.min(cost, before[j - 2]! + 1);
      current[j] = cost;
      if (cost < least) least = cost;
    }
    if (least > allowed) return least;
    [before, previous, current] = [previous, current, before];
  }
  return previous[length]!;
}

/** A copy with A–Z made small. */
function lowered(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  for (let i = 0; i < copy.length; i++) {
    const byte = copy[i]!;
    if (byte >= 0x41 && byte <= 0x5a) copy[i] = byte + 32;
  }
  return copy;
}
