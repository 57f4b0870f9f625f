import { VmtapeError } from "../../src/base/errors.js";
import {
  type NewcEntry,
  type NewcMember,
  newcPermissionMask,
  newcTrailer,
  newcTypeBits,
  newcTypeMask,
  readNewcMember,
  startsNewcMember,
} from "../../src/formats/newc.js";

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
    const member = readNewcMember(bytes, offset, file);
    offset = member.next;
    if (member.name === newcTrailer) {
      linked.clear();
      const next = skipZeros(bytes, offset);
      if (next === bytes.length || !startsNewcMember(bytes, next)) return { entries, consumed: next };
      offset = next;
      continue;
    }
    const entry = entryOf(member, file);
    if (!entry) continue;
    entries.push(entry);
    if (entry.type === "file" && member.header.links > 1) shareLinked(entries, linked, member, entry.data);
  }
}

/** The entry of a member; undefined for the root directory, which every tree has. */
function entryOf(member: NewcMember, file: string): NewcEntry | undefined {
  const path = member.name.replace(/^(\.?\/+)+/, "").replace(/\/+$/, "");
  if (path === "" || path === ".") return undefined;
  const { header, data } = member;
  const common = { path, mode: header.mode & newcPermissionMask };
  switch (header.mode & newcTypeMask) {
    case newcTypeBits.file:
      return { ...common, type: "file", data };
    case newcTypeBits.directory:
      return { ...common, type: "directory" };
    case newcTypeBits.symlink:
      return { ...common, type: "symlink", target: Buffer.from(data).toString() };
    case newcTypeBits.character:
      return { ...common, type: "character", major: header.major, minor: header.minor };
    case newcTypeBits.block:
      return { ...common, type: "block", major: header.major, minor: header.minor };
    case newcTypeBits.fifo:
      return { ...common, type: "fifo" };
    case newcTypeBits.socket:
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
  member: NewcMember,
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

function skipZeros(bytes: Uint8Array, offset: number): number {
  let at = offset;
  while (at < bytes.length && bytes[at] === 0) at++;
  return at;
}
