/** An integer for JSON: a number where that is exact (up to 2^53), otherwise its digits as text. */
export function exactInJson(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** The JSON of a value that may contain bigints, which are written by {@link exactInJson}. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? exactInJson(item) : item));
}
