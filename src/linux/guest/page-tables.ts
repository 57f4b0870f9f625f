import type { GuestMemory, PhysicalMemory } from "../../base/guest-memory.js";
import { pageSize } from "../../base/guest-memory.js";
import { type PagingState, walkPages } from "../../base/x86-paging.js";

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
 * user program runs with page-table isolation. Tables are read once, whole.
 *
 * @param root the physical address of the top table: CR3, or `init_top_pgt` of Linux
 * @param levels 5 when CR4.LA57 is set
 */
export function walkedMemory(physical: PhysicalMemory, root: bigint, levels: 4 | 5 = 4): WalkedMemory {
  const tables = new Map<bigint, DataView | undefined>();
  const state: PagingState = { cr3: root, mode: levels === 5 ? "5-level" : "4-level", largePages: true };
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
    const at = BigInt.asUintN(64, address);
    const { start, end, page, entry } = await walkPages(state, at, entryAt);
    if (page === undefined) return { physical: undefined, entry };
    return { physical: page + (at - start), left: Number(end - at), entry };
  }

  async function entryAt(table: bigint, offset: number): Promise<bigint | undefined> {
    return (await tableAt(table))?.getBigUint64(offset, true);
  }

  async function tableAt(address: bigint): Promise<DataView | undefined> {
    if (!tables.has(address)) {
      const bytes = await physical.read(address, Number(pageSize));
      tables.set(address, bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }
    return tables.get(address);
  }
}
