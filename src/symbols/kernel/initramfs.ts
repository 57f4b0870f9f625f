import { compressionOf, decompress } from "../../base/compression/decompress.js";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import {
  type NewcMember,
  newcTrailer,
  newcTypeBits,
  newcTypeMask,
  readNewcMember,
  startsNewcMember,
} from "../../formats/newc.js";
import { isElf } from "../elf/elf.js";

/**
 * Reads initramfs archives: newc cpio archives one after the other, each plain or compressed, with zeros between
 * them (an early microcode archive comes first on many machines).
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 */

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
    if (startsNewcMember(rest, 0)) {
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
    const { name, header, data, next } = memberAt(archive, offset, file);
    offset = next;
    if (name === newcTrailer) return offset;
    if ((header.mode & newcTypeMask) === newcTypeBits.file) {
      yield { name: name.replace(/^(\.?\/)+/, ""), mode: header.mode, bytes: data };
    }
  }
}

function memberAt(archive: Uint8Array, offset: number, file: string): NewcMember {
  if (!startsNewcMember(archive, offset)) throw damaged(file, offset, "missing");
  try {
    return readNewcMember(archive, offset, file);
  } catch (error) {
    throw isVmtapeError(error, "bad-file") ? damaged(file, offset, "cut") : error;
  }
}

function damaged(file: string, offset: number, how: "missing" | "cut"): VmtapeError {
  return new VmtapeError("bad-file", `${file} is damaged: an entry of its cpio archive is ${how}`, {
    file,
    offset,
  });
}
