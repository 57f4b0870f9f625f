import type { PhysicalMemory } from "../../base/guest-memory.js";
import { addressOfKey } from "../tables/address.js";
import { isAbsoluteKind, type SymbolTable } from "../tables/symbol-table.js";
import type { KernelSymbols } from "./symbols.js";

/**
 * Finds by how much KASLR moved a kernel. On x86-64 the kernel's text is mapped into 1 GB from 0xffffffff80000000,
 * moved by a multiple of CONFIG_PHYSICAL_ALIGN (2 MB, at most 16 MB), independently of where it lies in physical
 * memory. Source: arch/x86/boot/compressed/kaslr.c, Documentation/arch/x86/x86_64/mm.rst.
 */
const windowStart = 0xffff_ffff_8000_0000n;
const windowSize = 1 << 30;
const step = 2 << 20;

/** Where a kernel lies in physical memory and by how much it is moved in virtual memory. */
export interface KernelPlacement {
  readonly slide: bigint;
  /** Add to a link address less 0xffffffff80000000 to get the physical address. */
  readonly physicalOffset: bigint;
}

/** Per-CPU variables are linked from 0 on, before Linux 6.15. */
const perCpuEnd = 1n << 32n;

/**
 * Where a kernel's symbol is while it runs; of a per-CPU variable, its offset in each processor's area. KASLR moves neither
 * those that are linked from 0 on nor absolute ones.
 *
 * @param slide by how much the kernel was moved
 * @returns undefined when it has no such symbol
 */
export function kernelAddress(table: SymbolTable, symbol: string, slide: bigint): bigint | undefined {
  const index = table.names.findLinked(symbol);
  if (index === undefined) return undefined;
  const address = addressOfKey(table.starts[index]!);
  const stays = isAbsoluteKind(table.kinds[index]!) || address < perCpuEnd;
  return stays ? address : address + slide;
}

/**
 * From physical memory: the banner is looked for at each 2 MB step, and the kernel's own variable `phys_base` then
 * tells the virtual slide; a proof, not a guess. Needs no page tables, so it works at any instant after the
 * kernel set `phys_base` (its first instructions).
 *
 * @returns undefined when the banner is nowhere
 */
export async function placementFromPhysicalMemory(
  memory: PhysicalMemory,
  kernel: KernelSymbols,
): Promise<KernelPlacement | undefined> {
  const banner = kernel.evidence[0];
  const physBase = kernel.table.names.findLinked("phys_base");
  if (!banner || physBase === undefined) return undefined;
  const bannerOffset = banner.address - windowStart;
  const physBaseOffset = addressOfKey(kernel.table.starts[physBase]!) - windowStart;
  const first = -(bannerOffset / BigInt(step)) * BigInt(step);
  for (let moved = first; bannerOffset + moved < BigInt(memory.size); moved += BigInt(step)) {
    const bytes = await memory.read(bannerOffset + moved, banner.bytes.length);
    if (!bytes || Buffer.compare(bytes, banner.bytes) !== 0) continue;
    const value = await memory.read(physBaseOffset + moved, 8);
    if (!value) continue;
    const base = new DataView(value.buffer, value.byteOffset, 8).getBigInt64(0, true);
    // virtual v is at v - window + phys_base: link + slide - window + phys_base = link - window + moved
    const slide = moved - base;
    if (slide >= 0n && slide < BigInt(windowSize) && slide % BigInt(step) === 0n) {
      return { slide, physicalOffset: moved };
    }
  }
  return undefined;
}
