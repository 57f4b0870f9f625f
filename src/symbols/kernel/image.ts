import { type CompressionFormat, compressionOf, decompress } from "../../base/compression/decompress.js";
import { VmtapeError } from "../../base/errors.js";
import { type SyncSource, syncBytes } from "../../base/sync-source.js";
import { ElfFile, inFile, isElf, viewOf } from "../elf/elf.js";
import { programType } from "../elf/layout.js";

/**
 * The x86 boot header of a bzImage. Source: Documentation/arch/x86/boot.rst of Linux. Offsets in the file.
 */
const bootHeader = {
  setupSectors: 0x1f1,
  magic: 0x202,
  magicText: "HdrS",
  version: 0x206,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  end: 0x250,
  /** The first version with the payload fields. */
  payloadVersion: 0x0208,
  defaultSetupSectors: 4,
  sectorSize: 512,
} as const;
/** A payload ends with the size of what it unpacks to, except a gzip one, whose own trailer says it. */
const sizeTrailer = 4;

/** No kernel is larger, packed or not; what claims more is not believed. */
const maxKernel = 512 << 20;
/** Nor has one a larger segment, or more than these before the last of interest. */
const maxSegment = 256 << 20;
const maxSegments = 16;

/** An uncompressed kernel. */
export interface KernelImage {
  readonly elf: ElfFile;
  /** How the file held it. */
  readonly container: "bzImage" | "ELF" | CompressionFormat;
  readonly compression: CompressionFormat | undefined;
  /** False when unpacking stopped after the first segment: it has text, kallsyms and BTF, but no sections. */
  readonly whole: boolean;
}

/** An ELF header and the program headers after it fit into the first page. */
const enoughForHeaders = 4096;

/** How much of a compressed kernel is wanted. */
export interface KernelImageOptions {
  /** True: unpack all of it. By default unpacking stops after the segment with text and read-only data. */
  readonly whole?: boolean;
}

/**
 * Opens a kernel: a bzImage (`vmlinuz`), a vmlinux ELF file, or a compressed vmlinux.
 *
 * Cost: unpacking, 0.1 s (gzip, lz4), 0.3 s (zstd), 0.6 s (xz, LZO) or 6 s (bzip2) for a stock Debian kernel. An ELF file is read
 * through `source`, which must stay open while the result is used.
 *
 * @throws VmtapeError `bad-file` when it is no kernel or damaged, `limit-exceeded`
 */
export function openKernelImage(source: SyncSource, options: KernelImageOptions = {}): KernelImage {
  const { name, size } = source;
  const start = source.read(0, Math.min(size, bootHeader.end));
  if (isElf(start)) {
    return { elf: ElfFile.open(source), container: "ELF", compression: undefined, whole: true };
  }
  const payload = isBzImage(start) ? readPayload(source, start) : undefined;
  const compression = compressionOf(payload?.bytes ?? start);
  if (!compression) {
    throw new VmtapeError(
      "bad-file",
      payload
        ? `the payload of ${name} is in no compressed format known here`
        : `${name} is neither a Linux kernel image nor an ELF file`,
      { file: name },
    );
  }
  if (!payload && size > maxKernel) throw kernelTooLarge(name, size);
  try {
    const { bytes, early } = unpack(payload?.bytes ?? source.read(0, size), payload?.unpackedSize, options);
    if (!isElf(bytes)) {
      throw new VmtapeError("bad-file", "it does not unpack to an ELF file", { file: name });
    }
    const elf = ElfFile.open(syncBytes(bytes, name));
    return { elf, container: payload ? "bzImage" : compression, compression, whole: !early };
  } catch (error) {
    if (!(error instanceof VmtapeError)) throw error;
    throw new VmtapeError(error.code, `${name} cannot be read as a kernel: ${error.message}`, {
      ...error.facts,
      file: name,
    });
  }
}

function kernelTooLarge(name: string, size: number): VmtapeError {
  return new VmtapeError(
    "limit-exceeded",
    `${name} holds a packed kernel of ${size} bytes, more than ${maxKernel}`,
    { file: name, limit: maxKernel },
  );
}

function unpack(
  packed: Uint8Array,
  expected: number | undefined,
  options: KernelImageOptions,
): { readonly bytes: Uint8Array; readonly early: boolean } {
  let early = false;
  let wanted: number | undefined;
  const { bytes } = decompress(packed, {
    maximum: maxKernel,
    ...(expected !== undefined && expected <= maxKernel && options.whole && { expected }),
    enough: (unpacked, used) => {
      if (options.whole || used < enoughForHeaders) return false;
      wanted ??= endOfFirstCode(unpacked.subarray(0, used));
      early = used >= wanted;
      return early;
    },
  });
  return { bytes, early };
}

/** The file offset after the first executable segment. */
function endOfFirstCode(start: Uint8Array): number {
  if (!isElf(start)) return Number.POSITIVE_INFINITY;
  const code = ElfFile.open(syncBytes(start)).segments.find(
    ({ type, flags }) => type === programType.load && flags & 1,
  );
  return code ? code.offset + code.fileSize : Number.POSITIVE_INFINITY;
}

function isBzImage(start: Uint8Array): boolean {
  return (
    start.length >= bootHeader.end &&
    Buffer.from(start.subarray(bootHeader.magic, bootHeader.magic + 4)).toString("latin1") ===
      bootHeader.magicText
  );
}

function readPayload(
  source: SyncSource,
  start: Uint8Array,
): { readonly bytes: Uint8Array; readonly unpackedSize: number } {
  const view = viewOf(start);
  const version = view.getUint16(bootHeader.version, true);
  if (version < bootHeader.payloadVersion) {
    const text = `${version >>> 8}.${String(version & 0xff).padStart(2, "0")}`;
    throw new VmtapeError("unsupported", `${source.name} has boot protocol ${text}, older than 2.08`, {
      file: source.name,
    });
  }
  const sectors = start[bootHeader.setupSectors] || bootHeader.defaultSetupSectors;
  const offset = (sectors + 1) * bootHeader.sectorSize + view.getUint32(bootHeader.payloadOffset, true);
  const length = view.getUint32(bootHeader.payloadLength, true);
  if (length > maxKernel) throw kernelTooLarge(source.name, length);
  if (length <= sizeTrailer) {
    throw new VmtapeError("bad-file", `${source.name} has an empty payload`, { file: source.name });
  }
  const bytes = source.read(offset, length);
  const unpackedSize = viewOf(bytes).getUint32(length - sizeTrailer, true);
  return { bytes, unpackedSize };
}

/**
 * The image's bytes at a link address; undefined when they are not stored in it (outside, or in .bss).
 */
export function imageBytes(elf: ElfFile, address: bigint, length: number): Uint8Array | undefined {
  for (const segment of elf.segments) {
    const into = address - segment.address;
    if (segment.type !== programType.load || into < 0n) continue;
    if (into + BigInt(length) > BigInt(segment.fileSize)) continue;
    const offset = segment.offset + Number(into);
    return offset + length <= elf.source.size ? elf.source.read(offset, length) : undefined;
  }
  return undefined;
}

/** Bytes of an image and the link address of the first. */
export interface ImagePart {
  readonly bytes: Uint8Array;
  readonly address: bigint;
}

/** The sections, or else the segments, in which kallsyms may be. */
export function* kallsymsHomes(elf: ElfFile): Generator<ImagePart> {
  const { source } = elf;
  for (const name of [".rodata", ".init.rodata", ".data"]) {
    const section = elf.section(name);
    if (section && section.size <= maxSegment && inFile(source, section)) {
      yield { bytes: elf.contents(section), address: section.address };
    }
  }
  for (const segment of elf.segments.slice(0, maxSegments)) {
    if (segment.type !== programType.load || segment.offset >= source.size) continue;
    if (segment.fileSize > maxSegment) continue;
    const size = Math.min(segment.fileSize, source.size - segment.offset);
    yield { bytes: source.read(segment.offset, size), address: segment.address };
  }
}
