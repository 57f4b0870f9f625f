import { InvalidArgumentError } from "commander";
import { type GuestAddress, guestAddress, type Icount, physicalAddress } from "../../base/units.js";
import { mostAskedBytes, type Past, pastOf } from "../../replay/timeline/last-write.js";
import type { OpenTimeline } from "../open/open-timeline.js";
import { say } from "../shell/output.js";

/** What `--last-write` and `--mem` name: bytes at an address or symbol. */
export interface WrittenRange {
  readonly space: "virtual" | "physical";
  readonly place: string;
  readonly length: number;
}

/** `[phys:]ADDRESS|SYMBOL[+OFFSET][,LENGTH]`. */
export function writtenRange(text: string, most: number, usual?: number): WrittenRange {
  const [, physical, place, digits] = /^(phys:)?([^,\s]+)(?:,(0x[0-9a-f]+|\d+))?$/i.exec(text) ?? [];
  const length = digits === undefined ? usual : Number(digits);
  if (!place || length === undefined || !(length >= 1 && length <= most)) {
    throw new InvalidArgumentError(`it must be ADDRESS,LENGTH, of at most ${most} bytes.`);
  }
  return { space: physical ? "physical" : "virtual", place, length };
}

/** Of `--last-write`: 8 bytes when no length is given. */
export const pastRange = (text: string) => writtenRange(text, mostAskedBytes, 8);

/** The address a place names: a number, a symbol, or a symbol and an offset. */
export function addressOf(place: string, { symbols }: OpenTimeline): GuestAddress {
  if (/^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(place)) return guestAddress(BigInt(place));
  const [, name = place, offset = "0"] = /^(.+)\+(0x[0-9a-f]{1,16}|\d{1,10})$/i.exec(place) ?? [];
  return guestAddress(symbols.addressOf(name) + BigInt(offset));
}

/** Who wrote the bytes before this instant; with `since`, all that did since then. */
export function findPast(
  open: OpenTimeline,
  { space, place, length }: WrittenRange,
  since: Icount | undefined,
  signal: AbortSignal,
): Promise<Past> {
  const address = addressOf(place, open);
  const asked = { space, address: space === "physical" ? physicalAddress(address) : address, length };
  return pastOf(open.timeline, asked, since === undefined ? {} : { since }, signal);
}

export async function sayPast(past: Past, { place }: WrittenRange, open: OpenTimeline): Promise<void> {
  const { pastLines } = await import("../../replay/timeline/past-text.js");
  for (const line of pastLines(past, place, open.describe)) say(line);
}
