import { VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { hex } from "../../base/units.js";
import { largestBtf } from "../btf/btf.js";
import { btfHeader } from "../btf/layout.js";
import { type BtfTypes, decodeBtf } from "../btf/types.js";
import { type ElfFile, viewOf } from "../elf/elf.js";
import { programType } from "../elf/layout.js";
import type { KernelImage } from "./image.js";

/** Magic, version, flags and header length: with the checks after it, found once in a kernel. */
const headerStart = Uint8Array.of(0x9f, 0xeb, 1, 0, btfHeader.size, 0, 0, 0, 0, 0, 0, 0);
const largestSegment = 256 << 20;
/** A kernel has thousands of types; a stray header that says less is none. */
const smallestTypes = 1024;

/**
 * The types a kernel's image carries, whether or not its section headers were unpacked.
 *
 * Cost: 15 ms, when the image is unpacked already.
 *
 * @returns undefined for a kernel without BTF (CONFIG_DEBUG_INFO_BTF off)
 * @throws VmtapeError `bad-file` when its BTF is damaged
 */
export function readKernelBtf(image: KernelImage): BtfTypes | undefined {
  const bytes = kernelBtfBytes(image);
  return bytes && decodeBtf(bytes, { name: image.elf.source.name });
}

/** The same as it stands in the image, for `decodeBtf`. */
export function kernelBtfBytes({ elf }: KernelImage): Uint8Array | undefined {
  return sectionBytes(elf) ?? searchSegments(elf);
}

/**
 * The types in an ELF file's `.BTF`: a kernel's, or with `base` those of a module (`.ko`).
 *
 * @returns undefined when it has none
 */
export function readElfBtf(elf: ElfFile, base?: BtfTypes): BtfTypes | undefined {
  const bytes = sectionBytes(elf);
  return bytes && decodeBtf(bytes, { name: elf.source.name, base });
}

/**
 * The types in guest memory: the kernel's lie from `__start_BTF` to `__stop_BTF`, a module's where its
 * `struct module` says (`btf_data`, `btf_data_size`).
 *
 * @throws VmtapeError `not-mapped`, and as `decodeBtf`
 */
export async function readMemoryBtf(
  memory: GuestMemory,
  start: bigint,
  length: number,
  options: { readonly name?: string; readonly base?: BtfTypes } = {},
): Promise<BtfTypes> {
  const { name = "BTF in guest memory", base } = options;
  if (length > largestBtf) {
    throw new VmtapeError("limit-exceeded", `${name} has ${length} bytes, more than ${largestBtf}`, {
      limit: largestBtf,
    });
  }
  const bytes = await memory.read(start, length);
  if (!bytes) {
    throw new VmtapeError("not-mapped", `${name}: no memory at ${hex(start)}`, { address: start });
  }
  return decodeBtf(bytes, { name, base });
}

function sectionBytes(elf: ElfFile): Uint8Array | undefined {
  const section = elf.section(".BTF");
  return section && section.size > 0 ? elf.contents(section) : undefined;
}

/** Looks for the header in each segment of an image whose section headers are not there. */
function searchSegments(elf: ElfFile): Uint8Array | undefined {
  const { source } = elf;
  for (const segment of elf.segments) {
    if (segment.type !== programType.load || segment.offset >= source.size) continue;
    const length = Math.min(segment.fileSize, source.size - segment.offset);
    if (length > largestSegment) continue;
    const bytes = source.read(segment.offset, length);
    const found = findBtf(bytes);
    if (found) return found;
  }
  return undefined;
}

/** BTF somewhere in bytes, by its header. */
export function findBtf(bytes: Uint8Array): Uint8Array | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = buffer.indexOf(headerStart); at >= 0; at = buffer.indexOf(headerStart, at + 4)) {
    if (at + btfHeader.size > bytes.length) break;
    const view = viewOf(bytes.subarray(at, at + btfHeader.size));
    const typesLength = view.getUint32(btfHeader.typesLength, true);
    const stringsOffset = view.getUint32(btfHeader.stringsOffset, true);
    const end = btfHeader.size + stringsOffset + view.getUint32(btfHeader.stringsLength, true);
    if (typesLength < smallestTypes || stringsOffset < typesLength || at + end > bytes.length) continue;
    // The strings start with an empty one.
    if (bytes[at + btfHeader.size + stringsOffset] === 0) return bytes.subarray(at, at + end);
  }
  return undefined;
}
