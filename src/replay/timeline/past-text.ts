import { hex } from "../../base/units.js";
import type { Position } from "../session/position.js";
import type { Past, Write } from "./last-write.js";

/** The past of `place` as lines of text for people. */
export function pastLines(
  { writes, unseen }: Past,
  place: string,
  describe: (position: Position) => string,
): string[] {
  const lines = writes.length === 0 ? [`${place}: no instruction wrote it`] : [];
  for (const write of writes) {
    if (write.changedSince) {
      const change = `${valueText(write.changedSince)} -> ${valueText(write.before)}`;
      lines.push(`(changed without an instruction: ${change})`);
    }
    const how = write.delivery ? "  (delivery of an interrupt or exception)" : "";
    lines.push(`${describe(write.position)}${how}`);
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

/** The past as `--json` prints it. `symbolAt` gives the name of an address. */
export function pastFacts({ writes, unseen }: Past, symbolAt: (pc: bigint) => string | undefined) {
  return {
    writes: writes.map((write) => ({
      ...writeFacts(write),
      symbol: symbolAt(write.position.pc) ?? null,
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

/** 1, 2, 4 or 8 bytes as a little-endian number, any other length as single bytes. */
function valueText(bytes: Uint8Array): string {
  if (![1, 2, 4, 8].includes(bytes.length)) return bytesText(bytes);
  return `0x${Buffer.from(bytes).reverse().toString("hex")}`;
}
