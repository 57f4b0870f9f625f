/**
 * What QEMU's `-kernel` accepts on a PC, told from a file's first bytes.
 *
 * - Linux boot protocol: "HdrS" at 0x202 (Linux, Documentation/arch/x86/boot.rst)
 * - Multiboot 1: magic 0x1BADB002, 4-aligned, in the first 8192 bytes, with a checksum (Multiboot 0.6.96, 3.1.1)
 * - ELF: a PVH kernel such as an uncompressed `vmlinux` (Xen, docs/misc/pvh.pandoc)
 */
export type KernelKind = "linux" | "multiboot" | "elf";

/** How many first bytes {@link kernelKind} wants to see. */
export const kernelHeadBytes = 8192;

const multibootMagic = 0x1badb002;

/** The kind of kernel that begins with `head`, or undefined when QEMU would not start it. */
export function kernelKind(head: Uint8Array): KernelKind | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  if (head.length >= 0x206 && view.getUint32(0x202) === 0x48647253) return "linux";
  for (let at = 0; at + 12 <= Math.min(head.length, kernelHeadBytes); at += 4) {
    if (view.getUint32(at, true) !== multibootMagic) continue;
    const sum = multibootMagic + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if ((sum >>> 0) % 2 ** 32 === 0) return "multiboot";
  }
  if (head.length >= 52 && view.getUint32(0) === 0x7f454c46) return "elf";
  return undefined;
}
