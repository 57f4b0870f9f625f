import { InvalidArgumentError } from "commander";
import type { OpenTape } from "../../moment/open-tape.js";
import type { MemoryPlace } from "../../moment/registers.js";
import { mostAskedBytes, type Past } from "../../replay/timeline/last-write.js";
import { say } from "../shell/output.js";

/** Reads `[phys:]ADDRESS|SYMBOL[+OFFSET][,LENGTH]`. */
export function writtenRange(text: string, most: number, usual?: number): MemoryPlace {
  const [, physical, place, digits] = /^(phys:)?([^,\s]+)(?:,(0x[0-9a-f]+|\d+))?$/i.exec(text) ?? [];
  const length = digits === undefined ? usual : Number(digits);
  if (!place || length === undefined || !(length >= 1 && length <= most)) {
    throw new InvalidArgumentError(`it must be ADDRESS,LENGTH, of at most ${most} bytes.`);
  }
  return { space: physical ? "physical" : "virtual", place, length };
}

/** Reads the range of `--last-write`: 8 bytes when no length is given. */
export const pastRange = (text: string) => writtenRange(text, mostAskedBytes, 8);

/** Prints which instructions wrote the bytes. */
export async function sayPast(past: Past, { place }: MemoryPlace, open: OpenTape): Promise<void> {
  const { pastLines } = await import("../../replay/timeline/past-text.js");
  for (const line of pastLines(past, place, (at) => open.describe(at))) say(line);
}
