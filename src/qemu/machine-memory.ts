import type { GdbStub } from "./gdb-stub.js";
import { stubChunkBytes } from "./gdb-stub.js";
import type { GuestRam } from "./ram.js";
import { type MappedRange, mappedRange, pagingState, translate } from "./x86-paging.js";

/**
 * Physical addresses of the `pc` machine's RAM. Up to 3.5 GB of RAM lie from 0 on; of more, 3 GB do, and the rest
 * from 4 GB on. Source: QEMU, hw/i386/pc_piix.c, pc_init1.
 */
const below4G = { most: 0xe0000000, whenMore: 0xc0000000 } as const;
const above4G = 0x1_0000_0000;

/** Firmware: these addresses are ROM or RAM, as the chip set is programmed; reading them changes nothing. */
const firmware = [
  { from: 0xc0000, to: 0x100000 },
  { from: 0xfffc0000, to: above4G },
] as const;
/** Screen memory. vmtape's machines have no display, so nothing is there. */
const screen = { from: 0xa0000, to: 0xc0000 } as const;

/**
 * The offset in guest RAM of a physical address; undefined where there is no RAM. Does not consider what covers RAM.
 */
export function ramOffset(ramBytes: number, address: number): number | undefined {
  const low = ramBytes >= below4G.most ? below4G.whenMore : ramBytes;
  if (address < low) return address;
  const offset = address - above4G + low;
  return address >= above4G && offset < ramBytes ? offset : undefined;
}

/** One past the highest physical address of RAM. */
export function ramEnd(ramBytes: number): number {
  return ramBytes >= below4G.most ? above4G + ramBytes - below4G.whenMore : ramBytes;
}

/** Memory by physical and virtual address. Subclasses provide the physical memory. */
export abstract class PagedMemory {
  /** Up to `length` bytes from `address` on, as far as there is memory; undefined when there is none at the first. */
  abstract readPhysical(address: bigint, length: number): Promise<Uint8Array | undefined>;

  /** Reads page tables, for translating addresses. Their accessed and dirty bits need not be right. */
  protected readTable(address: bigint, length: number): Promise<Uint8Array | undefined> {
    return this.readPhysical(address, length);
  }

  /**
   * As many bytes from a virtual address on as are mapped; undefined when the first is not.
   *
   * @param registers the `g` block of this instant, or of another whose address space is meant
   */
  async read(registers: Uint8Array, address: bigint, length: number): Promise<Uint8Array | undefined> {
    const state = pagingState(registers);
    return gather(0, length, async (at, left) => {
      const page = await translate(state, BigInt.asUintN(64, address + BigInt(at)), this.entry);
      return page && this.readPhysical(page.physical, Math.min(left, page.left));
    });
  }

  /** The physical address of a virtual one; undefined when it is not mapped. */
  async translate(registers: Uint8Array, address: bigint): Promise<bigint | undefined> {
    return (await translate(pagingState(registers), address, this.entry))?.physical;
  }

  /** The range around a virtual address that is mapped in one way. */
  mappedRange(registers: Uint8Array, address: bigint): Promise<MappedRange> {
    return mappedRange(registers, address, this.entry);
  }

  private readonly entry = async (
    table: bigint,
    offset: number,
    bytes: 4 | 8,
  ): Promise<bigint | undefined> => {
    const read = await this.readTable(table + BigInt(offset), bytes);
    if (read?.length !== bytes) return undefined;
    const view = new DataView(read.buffer, read.byteOffset, bytes);
    return bytes === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
  };
}

/**
 * Memory of a stopped machine, by physical and virtual address. RAM is read from outside of QEMU, firmware through
 * QEMU's GDB stub. Device memory is never read: reading may change the device, and the replay would diverge from its
 * tape.
 */
export class MachineMemory extends PagedMemory {
  private readonly ram: GuestRam;
  private readonly stub: GdbStub;

  constructor(ram: GuestRam, stub: GdbStub) {
    super();
    this.ram = ram;
    this.stub = stub;
  }

  /** As many bytes from `address` on as are RAM or firmware; undefined when the first is not. */
  async readPhysical(address: bigint, length: number): Promise<Uint8Array | undefined> {
    if (address > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
    return gather(Number(address), length, (at, left) => this.piece(at, left));
  }

  /** A piece from `at` on that is of one kind. */
  private async piece(at: number, left: number): Promise<Uint8Array | undefined> {
    const rom = firmware.find(({ from, to }) => at >= from && at < to);
    if (rom) return this.stub.readPhysical(BigInt(at), Math.min(left, rom.to - at, stubChunkBytes));
    if (at >= screen.from && at < screen.to) return undefined;
    const offset = ramOffset(this.ram.bytes, at);
    if (offset === undefined) return undefined;
    const next = [screen.from, firmware[0].from, firmware[1].from].find((edge) => edge > at) ?? Infinity;
    const bytes = new Uint8Array(Math.min(left, next - at));
    return bytes.subarray(0, await this.ram.read(bytes, offset));
  }
}

/** Pieces one after another, until one is missing. */
async function gather(
  from: number,
  length: number,
  piece: (at: number, left: number) => Promise<Uint8Array | undefined>,
): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let have = 0;
  while (have < length) {
    const part = await piece(from + have, length - have);
    if (!part || part.length === 0) break;
    parts.push(part);
    have += part.length;
  }
  if (have === 0 && length > 0) return undefined;
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
