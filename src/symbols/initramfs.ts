import { compressionOf, decompress } from "../base/compression/decompress.js";
import { VmtapeError } from "../base/errors.js";
import { isElf } from "./elf.js";

/**
 * Reads initramfs archives: newc cpio archives one after the other, each plain or compressed, with zeros between
 * them (an early microcode archive comes first on many machines).
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 *
 * A newc header is 110 ASCII characters: a magic number and 13 fields of 8 hexadecimal digits.
 */
const headerSize = 110;
const magics: readonly string[] = ["070701", "070702"];
const field = { mode: 1, fileSize: 6, nameSize: 11 } as const;
const trailer = "TRAILER!!!";
const fileTypeMask = 0o170000;
const regularFile = 0o100000;
const longestName = 4096;

/** Bytes all compressed archives may unpack to together. */
const defaultMaximum = 1 << 30;

/** A file of the archive; `bytes` is a view. */
export interface ArchiveFile {
  /** As written, without a leading `/` or `./`. */
  readonly name: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

/**
 * The regular files of an initramfs, in order. A later file of the same name replaces an earlier one in the guest;
 * both are given.
 *
 * @throws VmtapeError `bad-file` when it is no such archive or damaged, `unsupported`, `limit-exceeded`
 */
export function* initramfsFiles(
  archive: Uint8Array,
  file = "the initramfs",
  maximum = defaultMaximum,
): Generator<ArchiveFile> {
  let left = maximum;
  for (let offset = 0; offset < archive.length; ) {
    if (archive[offset] === 0) {
      offset++;
      continue;
    }
    const rest = archive.subarray(offset);
    if (magicAt(rest, 0)) {
      offset += yield* cpioFiles(rest, file);
    } else if (compressionOf(rest)) {
      const { bytes, consumed } = decompress(rest, { maximum: left });
      left -= bytes.length;
      // Within the compressed part, archives may follow each other too.
      for (let inner = 0; inner < bytes.length; ) {
        if (bytes[inner] === 0) inner++;
        else inner += yield* cpioFiles(bytes.subarray(inner), file);
      }
      offset += consumed;
    } else {
      throw new VmtapeError("bad-file", `${file} is not a cpio archive at byte ${offset}`, { file, offset });
    }
  }
}

/** The ELF files among them; kernel modules kept compressed (.ko.xz, .ko.zst, .ko.gz) are unpacked. */
export function* initramfsElfFiles(archive: Uint8Array, file?: string): Generator<ArchiveFile> {
  for (const entry of initramfsFiles(archive, file)) {
    if (isElf(entry.bytes)) {
      yield entry;
    } else if (/\.ko\.\w+$/.test(entry.name) && compressionOf(entry.bytes)) {
      const { bytes } = decompress(entry.bytes, { maximum: largestModule });
      if (isElf(bytes)) yield { ...entry, name: entry.name.replace(/\.\w+$/, ""), bytes };
    }
  }
}

const largestModule = 256 << 20;

/** Yields the files of one archive; returns the offset after it. */
function* cpioFiles(archive: Uint8Array, file: string): Generator<ArchiveFile, number> {
  for (let offset = 0; ; ) {
    if (!magicAt(archive, offset)) {
      throw new VmtapeError("bad-file", `${file} is damaged: an entry of its cpio archive is missing`, {
        file,
        offset,
      });
    }
    const mode = fieldAt(archive, offset, field.mode);
    const size = fieldAt(archive, offset, field.fileSize);
    const nameSize = fieldAt(archive, offset, field.nameSize);
    const nameStart = offset + headerSize;
    const start = align4(nameStart + nameSize);
    const end = start + size;
    // The negated form also catches a field that is no number.
    if (!(nameSize > 0 && nameSize <= longestName && end <= archive.length)) {
      throw new VmtapeError("bad-file", `${file} is damaged: an entry of its cpio archive is cut`, {
        file,
        offset,
      });
    }
    const name = textAt(archive, nameStart, nameSize - 1);
    offset = Math.min(align4(end), archive.length);
    if (name === trailer) return offset;
    if ((mode & fileTypeMask) === regularFile) {
      yield { name: name.replace(/^(\.?\/)+/, ""), mode, bytes: archive.subarray(start, end) };
    }
  }
}

function magicAt(archive: Uint8Array, offset: number): boolean {
  return offset + headerSize <= archive.length && magics.includes(textAt(archive, offset, 6));
}

function fieldAt(archive: Uint8Array, offset: number, index: number): number {
  const text = textAt(archive, offset + 6 + index * 8, 8);
  return /^[0-9a-f]{8}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
}

function textAt(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).toString("latin1");
}

function align4(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}
