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

/**
 * The boot header of a bzImage, as far as it tells what kind of kernel is packed in it. Source: Linux,
 * Documentation/arch/x86/boot.rst. The payload is what is unpacked; programs other than Linux that use the header, memory
 * testers and boot loaders, have none.
 */
const bootHeader = { version: 0x206, loadFlags: 0x236, payloadLength: 0x24c, end: 0x250 } as const;
/** The first version with these load flags. */
const loadFlagsVersion = 0x020c;
/** XLF_KERNEL_64: the kernel has a 64-bit entry point. */
const is64Bit = 1;

/**
 * Whether `head` is that of a Linux kernel (a bzImage, Linux 3.8 and later) for 32-bit processors. Older ones do not tell,
 * and count as 64-bit.
 */
export function isKernel32(head: Uint8Array): boolean {
  if (kernelKind(head) !== "linux" || head.length < bootHeader.end) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  return (
    view.getUint16(bootHeader.version, true) >= loadFlagsVersion &&
    view.getUint32(bootHeader.payloadLength, true) > 0 &&
    (view.getUint16(bootHeader.loadFlags, true) & is64Bit) === 0
  );
}

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
