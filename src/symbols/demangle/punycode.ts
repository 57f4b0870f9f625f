/** Source: RFC 3492, section 6.2, with the `_` that Rust's v0 names have in place of `-`. */
const base = 36;
const tMin = 1;
const tMax = 26;
const skew = 38;
const damp = 700;
const initialBias = 72;
const initialPoint = 128;

/** The text that was encoded; undefined when it is none. */
export function decodePunycode(text: string): string | undefined {
  const split = text.lastIndexOf("_");
  const points = Array.from(split > 0 ? text.slice(0, split) : "", (letter) => letter.codePointAt(0)!);
  let at = split + 1;
  let point = initialPoint;
  let bias = initialBias;
  let index = 0;
  while (at < text.length) {
    const before = index;
    let weight = 1;
    for (let k = base; ; k += base) {
      const digit = digitOf(text[at++]);
      if (digit < 0) return undefined;
      index += digit * weight;
      const threshold = Math.min(tMax, Math.max(tMin, k - bias));
      if (digit < threshold) break;
      weight *= base - threshold;
      if (weight > Number.MAX_SAFE_INTEGER / base) return undefined;
    }
    const count = points.length + 1;
    bias = adapted(index - before, count, before === 0);
    point += Math.floor(index / count);
    if (point > 0x10ffff) return undefined;
    index %= count;
    points.splice(index++, 0, point);
  }
  return String.fromCodePoint(...points);
}

function adapted(delta: number, count: number, isFirst: boolean): number {
  let rest = isFirst ? Math.floor(delta / damp) : delta >> 1;
  rest += Math.floor(rest / count);
  let k = 0;
  for (; rest > ((base - tMin) * tMax) >> 1; k += base) rest = Math.floor(rest / (base - tMin));
  return k + Math.floor(((base - tMin + 1) * rest) / (rest + skew));
}

function digitOf(letter: string | undefined): number {
  if (letter === undefined) return -1;
  const digit = "abcdefghijklmnopqrstuvwxyz0123456789".indexOf(letter);
  return digit;
}
