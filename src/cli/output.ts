import { once } from "node:events";
import pc from "picocolors";

/** Prints one line on stdout. */
export function say(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Prints a fact for people that is no result, on stderr. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** JSON with bigints as numbers where they are exact, else as strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? exact(item) : item));
}

function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** Prints a list of facts, names in one column. Undefined values are left out. */
export function sayFacts(facts: Readonly<Record<string, string | undefined>>): void {
  const rows = Object.entries(facts).filter((row): row is [string, string] => row[1] !== undefined);
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) say(`${pc.dim(name.padEnd(width))}  ${value}`);
}

/** Writes to stdout, at its reader's pace. */
export async function print(text: string, signal: AbortSignal): Promise<void> {
  if (text !== "" && !process.stdout.write(text)) {
    await once(process.stdout, "drain", { signal }).catch(() => {});
  }
}

/** `1234567` as `1,234,567`. */
export function grouped(value: number | bigint): string {
  return value.toLocaleString("en-US");
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

/** Control characters made visible: text from a guest or a stranger's file must not drive the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "·");
}
