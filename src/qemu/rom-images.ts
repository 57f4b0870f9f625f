import type { Qmp } from "./qmp.js";

/** A range of guest physical memory. */
export interface PhysicalRange {
  readonly address: number;
  readonly bytes: number;
}

/** Source: QEMU, hw/core/loader.c, `hmp_info_roms`; the same from 7.2 to 10.0. */
const romLine = /^addr=([0-9a-f]{1,16}) size=0x([0-9a-f]{1,16}) mem=ram /;

/**
 * The ranges of guest RAM into which QEMU loads images at each reset: the segments of an ELF kernel (multiboot, PVH).
 * A Linux bzImage has none.
 */
export async function romsInRam(qmp: Qmp): Promise<PhysicalRange[]> {
  return parseRoms(await qmp.human("info roms"));
}

/** Reads the answer of the monitor command `info roms`. */
export function parseRoms(text: string): PhysicalRange[] {
  return text
    .split("\n")
    .map((line) => romLine.exec(line.trim()))
    .filter((match) => match !== null)
    .map(([, address, bytes]) => ({
      address: Number.parseInt(address!, 16),
      bytes: Number.parseInt(bytes!, 16),
    }));
}
