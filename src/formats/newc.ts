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
const trailerName = "TRAILER!!!";
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
const typeBits = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const;
const typeMask = 0o170000;
const permissionMask = 0o7777;

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
      mode: typeBits[entry.type] | (entry.mode & permissionMask),
      links: entry.type === "directory" ? 2 : 1,
      ...("major" in entry && { major: entry.major, minor: entry.minor }),
    });
  }
  pushMember(pieces, trailerName, new Uint8Array(0), { links: 1 });
  return Buffer.concat(pieces);
}

/** What `decodeNewc` found. */
export interface NewcArchive {
  /** File data are views into the input (borrowed). */
  readonly entries: NewcEntry[];
  /** Offset of the first byte that belongs to no archive: the input's length, or where compressed data begin. */
  readonly consumed: number;
}

/**
 * Reads the archives at the start of `bytes`, with zero bytes allowed between and after them. Hard links share
 * the data of the one that carries them. One pass, no copies.
 *
 * @throws VmtapeError `bad-file` with the offset when it does not start with an archive or a member is damaged
 *   or cut
 */
export function decodeNewc(bytes: Uint8Array, file = "archive"): NewcArchive {
  const entries: NewcEntry[] = [];
  const linked = new Map<string, { at: number[]; data: Uint8Array | undefined }>();
  let offset = 0;
  for (;;) {
    const member = readMember(bytes, offset, file);
    offset = member.next;
    if (member.name === trailerName) {
      linked.clear();
      const next = skipZeros(bytes, offset);
      if (next === bytes.length || !startsMember(bytes, next)) return { entries, consumed: next };
      offset = next;
      continue;
    }
    const entry = entryOf(member, file);
    if (!entry) continue;
    entries.push(entry);
    if (entry.type === "file" && member.header.links > 1) shareLinked(entries, linked, member, entry.data);
  }
}

type Header = Record<(typeof fields)[number], number>;

interface Member {
  readonly offset: number;
  readonly header: Header;
  readonly name: string;
  readonly data: Uint8Array;
  readonly next: number;
}

function contentsOf(entry: NewcEntry): Uint8Array {
  if (entry.type === "file") return entry.data;
  if (entry.type === "symlink") return Buffer.from(entry.target);
  return new Uint8Array(0);
}

function pushMember(pieces: Uint8Array[], name: string, data: Uint8Array, values: Partial<Header>): void {
  if (data.length > maxDataSize) {
    throw new VmtapeError(
      "limit-exceeded",
      `${name} has ${data.length} bytes; an initramfs file has at most 4 GiB`,
    );
  }
  const nameBytes = Buffer.from(`${name}\0`);
  const header: Partial<Header> = { ...values, size: data.length, nameSize: nameBytes.length };
  const digits = fields.map((field) => (header[field] ?? 0).toString(16).padStart(fieldDigits, "0"));
  pieces.push(Buffer.from(magic + digits.join("")), nameBytes, padding(headerSize + nameBytes.length));
  pieces.push(data, padding(data.length));
}

function readMember(bytes: Uint8Array, offset: number, file: string): Member {
  if (offset + headerSize > bytes.length) throw cut(file, offset, headerSize, bytes.length);
  if (!startsMember(bytes, offset)) {
    throw new VmtapeError("bad-file", `${file} has no newc member at byte ${offset}`, {
      file,
      offset,
      expected: magic,
      got: ascii(bytes, offset, magic.length),
    });
  }
  const header = {} as Header;
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

/** The entry of a member; undefined for the root directory, which every tree has. */
function entryOf(member: Member, file: string): NewcEntry | undefined {
  const path = member.name.replace(/^(\.?\/+)+/, "").replace(/\/+$/, "");
  if (path === "" || path === ".") return undefined;
  const { header, data } = member;
  const common = { path, mode: header.mode & permissionMask };
  switch (header.mode & typeMask) {
    case typeBits.file:
      return { ...common, type: "file", data };
    case typeBits.directory:
      return { ...common, type: "directory" };
    case typeBits.symlink:
      return { ...common, type: "symlink", target: Buffer.from(data).toString() };
    case typeBits.character:
      return { ...common, type: "character", major: header.major, minor: header.minor };
    case typeBits.block:
      return { ...common, type: "block", major: header.major, minor: header.minor };
    case typeBits.fifo:
      return { ...common, type: "fifo" };
    case typeBits.socket:
      return { ...common, type: "socket" };
    default:
      throw new VmtapeError("bad-file", `${file} has a member of unknown type at byte ${member.offset}`, {
        file,
        offset: member.offset,
        got: `0${header.mode.toString(8)}`,
      });
  }
}

/** Only one of several hard links carries the data: gives it to the others, earlier or later. */
function shareLinked(
  entries: NewcEntry[],
  linked: Map<string, { at: number[]; data: Uint8Array | undefined }>,
  member: Member,
  data: Uint8Array,
): void {
  const { devMajor, devMinor, inode } = member.header;
  const key = `${devMajor}:${devMinor}:${inode}`;
  const group = linked.get(key) ?? { at: [], data: undefined };
  linked.set(key, group);
  group.at.push(entries.length - 1);
  if (data.length > 0) group.data = data;
  if (!group.data) return;
  for (const index of group.at) {
    const entry = entries[index]!;
    if (entry.type === "file" && entry.data.length === 0) entries[index] = { ...entry, data: group.data };
  }
}

function checkPath(path: string): void {
  const parts = path.split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
  if (bad || path === trailerName || Buffer.byteLength(path) >= maxNameSize) {
    throw new VmtapeError("usage", `${JSON.stringify(path.slice(0, 80))} cannot be a path in an initramfs`, {
      path,
    });
  }
}

function startsMember(bytes: Uint8Array, offset: number): boolean {
  const found = ascii(bytes, offset, magic.length);
  return found === magic || found === magicWithSum;
}

function skipZeros(bytes: Uint8Array, offset: number): number {
  let at = offset;
  while (at < bytes.length && bytes[at] === 0) at++;
  return at;
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
