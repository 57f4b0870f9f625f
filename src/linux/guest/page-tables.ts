import type { GuestMemory, PhysicalMemory } from "../../base/guest-memory.js";
import { pageSize } from "../../base/guest-memory.js";

/** Where a virtual address leads, or at which entry the way ends. */
export type Translation =
  | {
      readonly physical: bigint;
      /** Bytes from there to the end of the page. */
      readonly left: number;
      /** The entry of the last table. */
      readonly entry: bigint;
    }
  | {
      readonly physical: undefined;
      /** The entry that is not present: 0 for what was never mapped, else what the system keeps there. */
      readonly entry: bigint;
    };

/** Memory read through page tables. */
export interface WalkedMemory extends GuestMemory {
  translate(address: bigint): Promise<Translation>;
}

/**
 * Virtual memory made from physical memory by walking x86-64 page tables, so that kernel memory can be read while a
 * user program runs with page-table isolation. Source: Intel SDM, volume 3, section 4.5 (4- and 5-level paging).
 *
 * @param root the physical address of the top table: CR3, or `init_top_pgt` of Linux
 * @param levels 5 when CR4.LA57 is set
 */
export function walkedMemory(physical: PhysicalMemory, root: bigint, levels: 4 | 5 = 4): WalkedMemory {
  const tables = new Map<bigint, DataView | undefined>();
  const addressBits = 12 + 9 * levels;
  return { read, translate };

  async function read(address: bigint, length: number): Promise<Uint8Array | undefined> {
    const first = await translate(address);
    if (first.physical === undefined) return undefined;
    if (length <= first.left) return physical.read(first.physical, length);
    const result = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const place = await translate(address + BigInt(done));
      if (place.physical === undefined) return undefined;
      const count = Math.min(length - done, place.left);
      const bytes = await physical.read(place.physical, count);
      if (!bytes) return undefined;
      result.set(bytes, done);
      done += count;
    }
    return result;
  }

  async function translate(address: bigint): Promise<Translation> {
    if (BigInt.asIntN(addressBits, address) !== BigInt.asIntN(64, address)) return nowhere;
    let table = root & frameMask;
    for (let level: number = levels; ; level--) {
      const shift = BigInt(12 + 9 * (level - 1));
      const entries = await tableAt(table);
      if (!entries) return nowhere;
      const entry = entries.getBigUint64(Number((address >> shift) & 511n) * 8, true);
      if (!(entry & present)) return { physical: undefined, entry };
      if (level === 1 || (level <= 3 && entry & largePage)) {
        const size = 1n << shift;
        const into = address & (size - 1n);
        return { physical: (entry & frameMask & ~(size - 1n)) + into, left: Number(size - into), entry };
      }
      table = entry & frameMask;
    }
  }

  async function tableAt(address: bigint): Promise<DataView | undefined> {
    if (!tables.has(address)) {
      const bytes = await physical.read(address, Number(pageSize));
      tables.set(address, bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }
    return tables.get(address);
  }
}

const nowhere: Translation = { physical: undefined, entry: 0n };
const present = 1n;
const largePage = 1n << 7n;
/** Bits 12 to 51: the physical address in an entry. */
const frameMask = 0x000f_ffff_ffff_f000n;
