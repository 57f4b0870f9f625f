/**
 * Remembers a small number about each of the last some ten thousand pairs of addresses, so that a loop over
 * hundreds of millions of records asks for names a few thousand times only. Direct-mapped: a pair is forgotten
 * when another needs its place.
 */
export class EdgeCache {
  private readonly size = 1 << 15;
  private readonly keys = new Uint32Array(4 * this.size);
  private readonly values = new Int8Array(this.size).fill(-1);

  /** @param judge gives the number, 0 … 127, of a pair that is not remembered */
  constructor(private readonly judge: (from: bigint, to: bigint) => number) {}

  /** The number of the pair at `index` of two columns of addresses, given as pairs of u32, low word first. */
  get(from: Uint32Array, to: Uint32Array, index: number): number {
    const low = 2 * index;
    const high = low + 1;
    const place = (Math.imul(from[low]!, 0x9e3779b1) ^ Math.imul(to[low]!, 0x85ebca6b)) >>> 17;
    const { keys, values } = this;
    const key = place << 2;
    if (
      values[place]! >= 0 &&
      keys[key] === from[low] &&
      keys[key + 1] === from[high] &&
      keys[key + 2] === to[low] &&
      keys[key + 3] === to[high]
    ) {
      return values[place]!;
    }
    keys[key] = from[low]!;
    keys[key + 1] = from[high]!;
    keys[key + 2] = to[low]!;
    keys[key + 3] = to[high]!;
    const verdict = this.judge(wide(from, index), wide(to, index));
    values[place] = verdict;
    return verdict;
  }
}

function wide(words: Uint32Array, index: number): bigint {
  return (BigInt(words[2 * index + 1]!) << 32n) | BigInt(words[2 * index]!);
}
