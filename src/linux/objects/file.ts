import { firstKernelAddress } from "../../base/units.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { GuestPath, PathReader } from "./paths.js";

/** An open file of the guest: a `struct file`. */
export interface GuestFile {
  readonly address: bigint;
  /** As /proc/PID/fd and /proc/PID/maps name it. */
  readonly path: string;
  readonly device: { readonly major: number; readonly minor: number };
  readonly inode: bigint;
  readonly kind: "file" | "directory" | "link" | "character" | "block" | "pipe" | "socket" | "other";
  readonly position: bigint;
  /** `f_flags`: O_RDONLY, O_APPEND … as in `open`. */
  readonly flags: number;
}

/** Bits of an inode's mode. Source: include/uapi/linux/stat.h. */
const modeMask = 0o170000;
const kinds: ReadonlyMap<number, GuestFile["kind"]> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "link"],
  [0o020000, "character"],
  [0o060000, "block"],
  [0o010000, "pipe"],
  [0o140000, "socket"],
]);
/** A device number inside the kernel: 12 bits major, 20 bits minor. Source: include/linux/kdev_t.h. */
const minorBits = 20;
/**
 * `FMODE_BACKING`: a file under an overlay, which knows the user's path. Source: include/linux/fs.h, from 6.5 on; later
 * kernels have it in the lower of these bits, and in the higher one that nobody watches the file.
 */
const backing = (1 << 24) | (1 << 25);

/** @throws VmtapeError `not-found` without BTF, `bad-memory`, `not-mapped` */
export async function readFileAt(
  guest: LinuxGuest,
  paths: PathReader,
  address: bigint,
  root: GuestPath | undefined,
): Promise<GuestFile> {
  const names = ["f_path.mnt", "f_path.dentry", "f_inode", "f_pos", "f_flags", "f_mode"];
  const view = await guest.read("file", address, names);
  const own = { mount: view.word("f_path.mnt"), entry: view.word("f_path.dentry") };
  const shown = view.number("f_mode") & backing ? await userPath(guest, address) : undefined;
  const inode = view.word("f_inode");
  const { device, number, mode } = await readInode(guest, inode);
  return {
    address,
    path: await paths.text(shown ?? own, root),
    device,
    inode: number,
    kind: kinds.get(mode & modeMask) ?? "other",
    position: BigInt.asIntN(64, view.word("f_pos")),
    flags: view.number("f_flags"),
  };
}

/** The path behind a `struct file`, where there is one: a mount and an entry of one file system. */
async function userPath(guest: LinuxGuest, address: bigint): Promise<GuestPath | undefined> {
  const type = guest.types.findStruct("backing_file");
  if (!type?.findMember("user_path")) return undefined;
  const view = await guest.read("backing_file", address, ["user_path.mnt", "user_path.dentry"]);
  const [mount, entry] = [view.word("user_path.mnt"), view.word("user_path.dentry")];
  const systems = [
    await pointerIn(guest, "vfsmount", mount, "mnt_sb"),
    await pointerIn(guest, "dentry", entry, "d_sb"),
  ];
  return systems[0] !== undefined && systems[0] === systems[1] ? { mount, entry } : undefined;
}

/** A pointer within what may be a structure; undefined where it is none. */
async function pointerIn(
  guest: LinuxGuest,
  type: string,
  address: bigint,
  member: string,
): Promise<bigint | undefined> {
  if (address < firstKernelAddress) return undefined;
  const value = await guest.words.u64(address + BigInt(guest.types.struct(type).member(member).byteOffset));
  return value === 0n ? undefined : value;
}

async function readInode(guest: LinuxGuest, address: bigint) {
  const view = await guest.read("inode", address, ["i_ino", "i_mode", "i_sb"]);
  const superblock = view.word("i_sb");
  const device =
    superblock === 0n ? 0 : (await guest.read("super_block", superblock, ["s_dev"])).number("s_dev");
  return {
    device: { major: device >>> minorBits, minor: device & ((1 << minorBits) - 1) },
    number: view.word("i_ino"),
    mode: view.number("i_mode"),
  };
}

/** Names of `f_flags` in octal as x86 has them. Source: include/uapi/asm-generic/fcntl.h. */
const accessModes = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR"] as const;
const flagNames: readonly (readonly [bits: number, name: string])[] = [
  [0o20200000, "O_TMPFILE"],
  [0o4010000, "O_SYNC"],
  [0o100, "O_CREAT"],
  [0o200, "O_EXCL"],
  [0o400, "O_NOCTTY"],
  [0o1000, "O_TRUNC"],
  [0o2000, "O_APPEND"],
  [0o4000, "O_NONBLOCK"],
  [0o10000, "O_DSYNC"],
  [0o20000, "O_ASYNC"],
  [0o40000, "O_DIRECT"],
  [0o200000, "O_DIRECTORY"],
  [0o400000, "O_NOFOLLOW"],
  [0o1000000, "O_NOATIME"],
  [0o2000000, "O_CLOEXEC"],
  [0o10000000, "O_PATH"],
];

/** `O_RDWR|O_APPEND`. Every 64-bit open has O_LARGEFILE (0100000), which is left out. */
export function formatOpenFlags(flags: number): string {
  const names: string[] = [accessModes[flags & 3]!];
  let left = flags;
  for (const [bits, name] of flagNames) {
    if ((left & bits) !== bits) continue;
    names.push(name);
    left &= ~bits;
  }
  return names.join("|");
}
