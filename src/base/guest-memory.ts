/**
 * The guest's virtual memory at one instant. It is implemented where there is a machine to ask, for example by its
 * RAM and page tables.
 */
export interface GuestMemory {
  /**
   * The bytes at a virtual address as the kernel sees them; undefined when any of them is not mapped. Addresses
   * need not be aligned, and a range may cross pages.
   */
  read(address: bigint, length: number): Promise<Uint8Array | undefined>;
}

/** The guest's physical memory at one instant. */
export interface PhysicalMemory {
  /** Bytes of RAM in all, when known: a search ends there. */
  readonly size: number;
  /** The bytes at a physical address; undefined where there is no memory. */
  read(address: bigint, length: number): Promise<Uint8Array | undefined>;
}

/** Reads little-endian words and strings from memory; each method gives undefined when the bytes are not mapped. */
export class MemoryReader {
  constructor(readonly memory: GuestMemory) {}

  async u32(address: bigint): Promise<number | undefined> {
    const bytes = await this.memory.read(address, 4);
    return bytes && new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  }

  async u64(address: bigint): Promise<bigint | undefined> {
    const bytes = await this.memory.read(address, 8);
    return bytes && new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  }

  /** Up to `length` bytes, as far as they are mapped. When not all are, they are read page by page. */
  async some(address: bigint, length: number): Promise<Uint8Array> {
    const whole = await this.memory.read(address, length);
    if (whole) return whole;
    const parts: Uint8Array[] = [];
    let at = address;
    const end = address + BigInt(length);
    while (at < end) {
      const pageEnd = (at / pageSize + 1n) * pageSize;
      const part = await this.memory.read(at, Number((pageEnd < end ? pageEnd : end) - at));
      if (!part) break;
      parts.push(part);
      at += BigInt(part.length);
    }
    return Buffer.concat(parts);
  }
}

export const pageSize = 4096n;
