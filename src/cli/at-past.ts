import { InvalidArgumentError } from "commander";
import { type GuestAddress, guestAddress, hex, type Icount, physicalAddress } from "../base/units.js";
import { mostAskedBytes, type Past, pastOf, type Write } from "../replay/last-write.js";
import type { OpenTimeline } from "./open-timeline.js";
import { say } from "./output.js";

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

export function sayPast(past: Past, { place }: WrittenRange, open: OpenTimeline): void {
  for (const line of pastLines(past, place, open)) say(line);
}

/** Who wrote `place`, in lines for people. */
export function pastLines({ writes, unseen }: Past, place: string, open: OpenTimeline): string[] {
  const lines = writes.length === 0 ? [`${place}: no instruction wrote it`] : [];
  for (const write of writes) {
    if (write.changedSince) {
      const change = `${valueText(write.changedSince)} -> ${valueText(write.before)}`;
      lines.push(`(changed without an instruction: ${change})`);
    }
    const how = write.delivery ? "  (delivery of an interrupt or exception)" : "";
    lines.push(`${open.describe(write.position)}${how}`);
    lines.push(`  ${valueText(write.before)} -> ${valueText(write.after)}`);
  }
  if (unseen) {
    const from = unseen.after === 0n ? "since the beginning" : `after @${unseen.after}`;
    const how =
      "it changed without an instruction (a device's DMA, or the page walk's accessed and dirty bits)";
    lines.push(`${from} ${how}:`, `  ${valueText(unseen.was)} -> ${valueText(unseen.is)}`);
  }
  return lines;
}

export function pastFacts({ writes, unseen }: Past, open: OpenTimeline) {
  return {
    writes: writes.map((write) => ({
      ...writeFacts(write),
      symbol: open.symbols.describe(write.position.pc) ?? null,
    })),
    unseen: unseen ? { after: unseen.after, was: bytesText(unseen.was), is: bytesText(unseen.is) } : null,
  };
}

function writeFacts({ position, before, after, written, delivery, changedSince }: Write) {
  return {
    ...position,
    pc: hex(position.pc),
    before: bytesText(before),
    after: bytesText(after),
    written: { address: hex(written.address), length: written.length },
    delivery,
    changedSince: changedSince ? bytesText(changedSince) : null,
  };
}

const bytesText = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** A word as a number, anything else as bytes. */
function valueText(bytes: Uint8Array): string {
  if (![1, 2, 4, 8].includes(bytes.length)) return bytesText(bytes);
  return `0x${Buffer.from(bytes).reverse().toString("hex")}`;
}
