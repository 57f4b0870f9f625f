import type { PhysicalMemory } from "../../base/guest-memory.js";
import { ramEnd, ramOffset } from "../../qemu/machine-memory.js";
import type { GuestRam } from "../../qemu/ram.js";

/** A stopped machine's RAM by guest physical address. */
export function physicalMemory(ram: GuestRam): PhysicalMemory {
  return {
    size: ramEnd(ram.bytes),
    async read(address, length) {
      if (address > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
      const offset = ramOffset(ram.bytes, Number(address));
      if (offset === undefined) return undefined;
      const bytes = new Uint8Array(length);
      return (await ram.read(bytes, offset)) === length ? bytes : undefined;
    },
  };
}
