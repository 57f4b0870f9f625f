import type { GuestRam } from "../qemu/ram.js";
import type { PhysicalMemory } from "../symbols/guest-memory.js";

/**
 * Where the `pc` machine puts its RAM: from 0 up to 3 GB, the rest from 4 GB on; all of it below when there is less
 * than 3.5 GB. Source: QEMU, hw/i386/pc_piix.c, pc_init1.
 */
const below4G = { most: 0xe0000000, whenMore: 0xc0000000 } as const;
const above4G = 0x1_0000_0000;

/** A stopped machine's RAM by guest physical address. */
export function physicalMemory(ram: GuestRam): PhysicalMemory {
  const low = ram.bytes >= below4G.most ? below4G.whenMore : ram.bytes;
  const offsetOf = (address: number) => {
    if (address < low) return address;
    return address >= above4G ? address - above4G + low : undefined;
  };
  return {
    size: low < ram.bytes ? above4G + ram.bytes - low : low,
    async read(address, length) {
      if (address > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
      const offset = offsetOf(Number(address));
      if (offset === undefined) return undefined;
      const bytes = new Uint8Array(length);
      return (await ram.read(bytes, offset)) === length ? bytes : undefined;
    },
  };
}
