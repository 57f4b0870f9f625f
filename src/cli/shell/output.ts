import { once } from "node:events";
import pc from "picocolors";
import { jsonText } from "../../base/json.js";
import { escapeJson, printable } from "../../base/printable.js";

/**
 * Prints one line on stdout. Control characters in it are escaped, so that it stays one line and sends no commands to
 * the terminal.
 */
export function say(line = ""): void {
  sayStyled(printable(line, { tabs: true }));
}

/**
 * Prints one line with vmtape's own colours on stdout. All text of others in it must have gone through `printable`.
 */
export function sayStyled(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints one line on stderr, escaped as by {@link say}: a fact for people that is no result. */
export function note(line: string): void {
  process.stderr.write(`${printable(line, { tabs: true })}\n`);
}

/** JSON as one line without control characters. Bigints are numbers up to 2^53, and strings beyond. */
export function toJson(value: unknown): string {
  return escapeJson(jsonText(value));
}

/** Prints a list of facts, names in one column. Undefined values are left out. */
export function sayFacts(facts: Readonly<Record<string, string | undefined>>): void {
  const rows = Object.entries(facts).filter((row): row is [string, string] => row[1] !== undefined);
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) sayStyled(`${pc.dim(name.padEnd(width))}  ${printable(value)}`);
}

/** Writes to stdout, and waits for a slow reader. */
export async function print(text: string, signal: AbortSignal): Promise<void> {
  if (text !== "" && !process.stdout.write(text)) {
    await once(process.stdout, "drain", { signal }).catch(() => {});
  }
}

/** `1234567` as `1,234,567`. Node's own way loads a library of languages: 30 ms. */
export function grouped(value: number | bigint): string {
  const [whole = "", ...fraction] = String(value).split(".");
  return [whole.replace(/\B(?=(?:\d{3})+$)/g, ","), ...fraction].join(".");
}

/** A size in the largest fitting binary unit: `2.4 MiB`. */
export function size(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${grouped(bytes)} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}
