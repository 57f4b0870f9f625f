import { inflateSync } from "node:zlib";
import { decompressZstd } from "../../base/compression/zstd.js";
import { VmtapeError } from "../../base/errors.js";
import { type SyncSource, syncBytes } from "../../base/sync-source.js";
import { type ElfFile, type ElfSection, inFile, numberAt, viewOf } from "./elf.js";
import { sectionFlag, sectionType } from "./layout.js";

/**
 * Compressed sections, in both ways that are in use: SHF_COMPRESSED (gabi, "Section Compression"), with a header of
 * u32 type, (64-bit: u32 reserved,) word size, word alignment; and the older `.zdebug_…` of GNU tools, which starts
 * with "ZLIB" and the unpacked size as a big-endian u64.
 */
const compression = { zlib: 1, zstd: 2 } as const;
const header32 = { size: 12, type: 0, length: 4 } as const;
const header64 = { size: 24, type: 0, length: 8 } as const;
const oldMagic = "ZLIB";
const oldHeaderSize = 12;

/** No section is unpacked to more than this. */
const largestSection = 1 << 30;
/** No stream of zlib's is smaller than its contents by more than this factor, nor does zstd earn it on real ones. */
const highestRatio = 1100;

/**
 * The section of this name, or of its `.zdebug_` name, unpacked if it is packed. An unpacked one is not read before
 * it is asked for.
 *
 * @returns undefined when there is none, or none with contents in this file
 * @throws VmtapeError `bad-file` (damaged), `unsupported` (method), `limit-exceeded` (more than 1 GB)
 */
export function openSection(elf: ElfFile, name: string): SyncSource | undefined {
  const section = findSection(elf, name);
  if (!section) return undefined;
  const label = `${section.name} of ${elf.source.name}`;
  if (!inFile(elf.source, section)) {
    throw new VmtapeError("bad-file", `${label} lies outside the file`, { file: elf.source.name });
  }
  if (section.flags & sectionFlag.compressed) return syncBytes(unpackHeaded(elf, section, label), label);
  if (section.name.startsWith(".zdebug_")) return syncBytes(unpackOld(elf, section, label), label);
  return part(elf.source, section, label);
}

/** Whether `openSection` would find one. */
export function hasContents(elf: ElfFile, name: string): boolean {
  return findSection(elf, name) !== undefined;
}

function findSection(elf: ElfFile, name: string): ElfSection | undefined {
  const section = elf.section(name) ?? elf.section(name.replace(/^\.debug_/, ".zdebug_"));
  return section && section.type !== sectionType.noBits && section.size > 0 ? section : undefined;
}

/** As `openSection`, all of it; empty when there is none. */
export function sectionBytes(elf: ElfFile, name: string): Uint8Array {
  const section = openSection(elf, name);
  if (!section) return new Uint8Array(0);
  if (section.size > largestSection) throw tooLarge(section.name, section.size);
  return section.read(0, section.size);
}

function part(source: SyncSource, { offset, size }: ElfSection, name: string): SyncSource {
  return {
    name,
    size,
    read(at, length) {
      if (!(at >= 0 && length >= 0 && at + length <= size)) {
        throw new VmtapeError(
          "bad-file",
          `${name} ends at byte ${size}, but ${length} were expected at ${at}`,
          {
            file: source.name,
            offset: at,
          },
        );
      }
      return source.read(offset + at, length);
    },
  };
}

function unpackHeaded(elf: ElfFile, section: ElfSection, label: string): Uint8Array {
  const { wordSize } = elf.layout;
  const header = wordSize === 8 ? header64 : header32;
  if (section.size < header.size) throw damaged(label);
  if (section.size > largestSection) throw tooLarge(label, section.size);
  const packed = elf.contents(section);
  const view = viewOf(packed);
  const type = view.getUint32(header.type, true);
  const length = numberAt(view, header.length, wordSize);
  return unpack(packed.subarray(header.size), type, length, label);
}

function unpackOld(elf: ElfFile, section: ElfSection, label: string): Uint8Array {
  if (section.size < oldHeaderSize) throw damaged(label);
  if (section.size > largestSection) throw tooLarge(label, section.size);
  const packed = elf.contents(section);
  if (Buffer.from(packed.subarray(0, oldMagic.length)).toString("latin1") !== oldMagic) throw damaged(label);
  const view = viewOf(packed);
  const length = view.getUint32(4, false) * 2 ** 32 + view.getUint32(8, false);
  return unpack(packed.subarray(oldHeaderSize), compression.zlib, length, label);
}

function unpack(packed: Uint8Array, type: number, length: number, label: string): Uint8Array {
  if (length > largestSection) throw tooLarge(label, length);
  if (type !== compression.zlib && type !== compression.zstd) {
    throw new VmtapeError("unsupported", `${label} is compressed by an unknown method ${type}`, {
      method: type,
    });
  }
  if (type === compression.zlib && length > packed.length * highestRatio) throw damaged(label);
  let bytes: Uint8Array;
  try {
    bytes =
      type === compression.zlib
        ? inflateSync(packed, {
            maxOutputLength: Math.max(length, 1),
            chunkSize: Math.max(64, Math.min(length, 1 << 20)),
          })
        : decompressZstd(packed, { maximum: Math.max(length, 1) }).bytes;
  } catch (error) {
    if (error instanceof VmtapeError && error.code === "unsupported") throw error;
    throw damaged(label);
  }
  if (bytes.length !== length) throw damaged(label);
  return bytes;
}

function damaged(label: string): VmtapeError {
  return new VmtapeError("bad-file", `${label} is damaged: it cannot be unpacked`, { section: label });
}

function tooLarge(label: string, size: number): VmtapeError {
  return new VmtapeError("limit-exceeded", `${label} has ${size} bytes, more than ${largestSection}`, {
    section: label,
    limit: largestSection,
  });
}
