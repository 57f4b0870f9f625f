/**
 * The index of the last value that is not larger than `wanted`; -1 when all are larger. The values must rise. A
 * binary search.
 */
export function lastAtMost(values: Float64Array | Uint32Array, wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
