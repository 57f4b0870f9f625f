import type { GuestMemory, PhysicalMemory } from "./guest-memory.js";
import { pageSize } from "./guest-memory.js";

/**
 * Virtual memory made from physical memory by walking x86-64 page tables, so that kernel memory can be read while a
 * user program runs with page-table isolation. Source: Intel SDM, volume 3, section 4.5 (4- and 5-level paging).
 *
 * @param root the physical address of the top table: CR3, or `init_top_pgt` of Linux
 * @param levels 5 when CR4.LA57 is set
 */
export function walkedMemory(physical: PhysicalMemory, root: bigint, levels: 4 | 5 = 4): GuestMemory {
  const tables = new Map<bigint, DataView | undefined>();
  return {
    async read(address, length) {
      const result = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const at = BigInt.asUintN(64, address + BigInt(done));
        const place = await translate(at);
        if (!place) return undefined;
        const count = Math.min(length - done, Number(place.size - (at % place.size)));
        const bytes = await physical.read(place.base + (at % place.size), count);
        if (!bytes) return undefined;
        result.set(bytes, done);
        done += count;
      }
      return result;
    },
  };

  async function translate(address: bigint): Promise<{ base: bigint; size: bigint } | undefined> {
    let table = root & frameMask;
    for (let level: number = levels; level >= 1; level--) {
      const shift = BigInt(12 + 9 * (level - 1));
      const entries = await tableAt(table);
      if (!entries) return undefined;
      const entry = entries.getBigUint64(Number((address >> shift) & 511n) * 8, true);
      if (!(entry & present)) return undefined;
      const size = 1n << shift;
      if (level === 1 || (level <= 3 && entry & largePage)) {
        return { base: entry & frameMask & ~(size - 1n), size };
      }
      table = entry & frameMask;
    }
    return undefined;
  }

  async function tableAt(address: bigint): Promise<DataView | undefined> {
    if (!tables.has(address)) {
      const bytes = await physical.read(address, Number(pageSize));
      tables.set(address, bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }
    return tables.get(address);
  }
}

const present = 1n;
const largePage = 1n << 7n;
/** Bits 12 to 51: the physical address in an entry. */
const frameMask = 0x000f_ffff_ffff_f000n;
