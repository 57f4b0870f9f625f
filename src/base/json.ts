/** A whole number as JSON can have it: a number where that is exact, else its digits as text. */
export function exactInJson(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** JSON of a value that may hold bigints, each as {@link exactInJson} has it. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? exactInJson(item) : item));
}
