/**
 * The newc cpio archive: what the Linux kernel unpacks as its initramfs.
 *
 * Source of the format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
 *
 *     member  = header name NUL pad4 data pad4
 *     header  = "070701" and 13 fields of 8 hexadecimal digits, 110 bytes (table below)
 *     archive = member* trailer          a buffer may hold several archives with zero bytes between them
 *     trailer = a member named "TRAILER!!!"
 */
import { VmtapeError } from "../base/errors.js";

const magic = "070701";
/** The same layout with a sum of the data bytes in `check`; read (the sum is not checked), never written. */
const magicWithSum = "070702";
/** The name of the member that ends an archive. */
export const newcTrailer = "TRAILER!!!";
const fields = [
  "inode",
  "mode",
  "uid",
  "gid",
  "links",
  "mtime",
  "size",
  "devMajor",
  "devMinor",
  "major",
  "minor",
  "nameSize",
  "check",
] as const;
const fieldDigits = 8;
const headerSize = magic.length + fields.length * fieldDigits;
const alignment = 4;
/** The kernel's PATH_MAX: the longest name it accepts, its NUL included. */
const maxNameSize = 4096;
const maxDataSize = 0xffffffff;

/** File types in the upper bits of `mode`, as in `<sys/stat.h>`. */
export const newcTypeBits = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const;
export const newcTypeMask = 0o170000;
export const newcPermissionMask = 0o7777;

interface NewcCommon {
  /** Without a leading slash and without `.` or `..`: `etc/passwd`. */
  readonly path: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
}

/** One member of an archive. Owner is always root, the time always 0. */
export type NewcEntry = NewcCommon &
  (
    | { readonly type: "directory" | "fifo" | "socket" }
    | { readonly type: "file"; readonly data: Uint8Array }
    | { readonly type: "symlink"; readonly target: string }
    | { readonly type: "character" | "block"; readonly major: number; readonly minor: number }
  );

/**
 * Orders entries for an archive: sorted by path with parents before children, missing parent directories
 * (mode 0755) added. Of two entries with one path the later one wins, but a path that is both a directory
 * with children and something else throws `usage`.
 */
export function newcTree(entries: Iterable<NewcEntry>): NewcEntry[] {
  const byPath = new Map<string, NewcEntry>();
  for (const entry of entries) {
    checkPath(entry.path);
    byPath.set(entry.path, entry);
  }
  for (const path of [...byPath.keys()]) {
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      const known = byPath.get(parent);
      if (!known) byPath.set(parent, { type: "directory", path: parent, mode: 0o755 });
      else if (known.type !== "directory") {
        throw new VmtapeError("usage", `${parent} is a ${known.type}, but ${path} lies below it`, { path });
      }
    }
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Writes an archive of these entries in this order. The bytes depend on nothing but the entries: inode numbers
 * count from 1, owner, time and device are 0.
 *
 * @throws VmtapeError `usage` for a path the kernel would not take, `limit-exceeded` for a file of 4 GiB or more
 */
export function encodeNewc(entries: Iterable<NewcEntry>): Uint8Array {
  const pieces: Uint8Array[] = [];
  let inode = 0;
  for (const entry of entries) {
    checkPath(entry.path);
    pushMember(pieces, entry.path, contentsOf(entry), {
      inode: ++inode,
      mode: newcTypeBits[entry.type] | (entry.mode & newcPermissionMask),
      links: entry.type === "directory" ? 2 : 1,
      ...("major" in entry && { major: entry.major, minor: entry.minor }),
    });
  }
  pushMember(pieces, newcTrailer, new Uint8Array(0), { links: 1 });
  return Buffer.concat(pieces);
}

/** The numbers of a member's header. */
export type NewcHeader = Record<(typeof fields)[number], number>;

/** A member as it stands in an archive. */
export interface NewcMember {
  /** Of its header. */
  readonly offset: number;
  readonly header: NewcHeader;
  /** As written: with a leading `/` or `./`, where it has one. */
  readonly name: string;
  /** Borrowed from the archive. */
  readonly data: Uint8Array;
  /** Where the next member begins; the archive's length after the last. */
  readonly next: number;
}

function contentsOf(entry: NewcEntry): Uint8Array {
  if (entry.type === "file") return entry.data;
  if (entry.type === "symlink") return Buffer.from(entry.target);
  return new Uint8Array(0);
}

function pushMember(pieces: Uint8Array[], name: string, data: Uint8Array, values: Partial<NewcHeader>): void {
  if (data.length > maxDataSize) {
    throw new VmtapeError(
      "limit-exceeded",
      `${name} has ${data.length} bytes; an initramfs file has at most 4 GiB`,
    );
  }
  const nameBytes = Buffer.from(`${name}\0`);
  const header: Partial<NewcHeader> = { ...values, size: data.length, nameSize: nameBytes.length };
  const digits = fields.map((field) => (header[field] ?? 0).toString(16).padStart(fieldDigits, "0"));
  pieces.push(Buffer.from(magic + digits.join("")), nameBytes, padding(headerSize + nameBytes.length));
  pieces.push(data, padding(data.length));
}

/**
 * The member that begins at an offset.
 *
 * @throws VmtapeError `bad-file` with the offset when none does, or it is damaged or cut
 */
export function readNewcMember(bytes: Uint8Array, offset: number, file: string): NewcMember {
  if (offset + headerSize > bytes.length) throw cut(file, offset, headerSize, bytes.length);
  if (!startsNewcMember(bytes, offset)) {
    throw new VmtapeError("bad-file", `${file} has no newc member at byte ${offset}`, {
      file,
      offset,
      expected: magic,
      got: ascii(bytes, offset, magic.length),
    });
  }
  const header = {} as NewcHeader;
  let at = offset + magic.length;
  for (const field of fields) {
    const digits = ascii(bytes, at, fieldDigits);
    if (!/^[0-9a-fA-F]{8}$/.test(digits)) {
      throw new VmtapeError("bad-file", `${file} has a damaged ${field} at byte ${at}`, {
        file,
        offset: at,
        got: digits,
      });
    }
    header[field] = Number.parseInt(digits, 16);
    at += fieldDigits;
  }
  if (header.nameSize < 1 || header.nameSize > maxNameSize) {
    throw new VmtapeError("bad-file", `${file} has a name of ${header.nameSize} bytes at byte ${at}`, {
      file,
      offset: at,
      expected: `1 to ${maxNameSize}`,
    });
  }
  const nameEnd = at + header.nameSize - 1;
  if (nameEnd >= bytes.length) throw cut(file, at, header.nameSize, bytes.length);
  if (bytes[nameEnd] !== 0) {
    throw new VmtapeError("bad-file", `${file} has a name without an end at byte ${at}`, {
      file,
      offset: at,
    });
  }
  const name = Buffer.from(bytes.buffer, bytes.byteOffset + at, header.nameSize - 1).toString();
  const dataStart = aligned(nameEnd + 1 - offset) + offset;
  const dataEnd = dataStart + header.size;
  if (header.size > 0 && dataEnd > bytes.length) throw cut(file, dataStart, header.size, bytes.length);
  // The padding of the last member may be missing: the kernel does not ask for it.
  const next = Math.min(aligned(dataEnd - offset) + offset, bytes.length);
  return { offset, header, name, data: bytes.subarray(dataStart, dataEnd), next };
}

function checkPath(path: string): void {
  const parts = path.split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
  if (bad || path === newcTrailer || Buffer.byteLength(path) >= maxNameSize) {
    throw new VmtapeError("usage", `${JSON.stringify(path.slice(0, 80))} cannot be a path in an initramfs`, {
      path,
    });
  }
}

/** Does the magic number of a member stand here? */
export function startsNewcMember(bytes: Uint8Array, offset: number): boolean {
  const found = ascii(bytes, offset, magic.length);
  return found === magic || found === magicWithSum;
}

function ascii(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.subarray(offset, offset + length)).toString("latin1");
}

function aligned(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}

function padding(size: number): Uint8Array {
  return new Uint8Array(aligned(size) - size);
}

function cut(file: string, offset: number, length: number, end: number): VmtapeError {
  return new VmtapeError(
    "bad-file",
    `${file} ends at byte ${end}, but ${length} bytes were expected at ${offset}`,
    { file, offset, length: end },
  );
}
