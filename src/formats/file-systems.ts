/**
 * Which file system a disk or a partition holds, told by its magic number. Source: the kernel's headers of each file system;
 * for FAT, exFAT and NTFS Microsoft's specifications, for ISO 9660 ECMA-119.
 */
import type { DiskBytes } from "./disk-bytes.js";
import { partitionsOf } from "./partitions.js";

interface Mark {
  readonly name: FileSystem;
  readonly at: number;
  readonly bytes: readonly number[];
}

const ascii = (text: string) => [...Buffer.from(text, "latin1")];

/** File systems that are told apart; `ext4` is ext2 and ext3, too. */
export const fileSystems = [
  "ext4",
  "xfs",
  "btrfs",
  "vfat",
  "exfat",
  "ntfs",
  "iso9660",
  "squashfs",
  "erofs",
  "f2fs",
] as const;
export type FileSystem = (typeof fileSystems)[number];

const marks: readonly Mark[] = [
  { name: "ext4", at: 1080, bytes: [0x53, 0xef] },
  { name: "xfs", at: 0, bytes: ascii("XFSB") },
  { name: "btrfs", at: 0x10040, bytes: ascii("_BHRfS_M") },
  { name: "vfat", at: 54, bytes: ascii("FAT") },
  { name: "vfat", at: 82, bytes: ascii("FAT32") },
  { name: "exfat", at: 3, bytes: ascii("EXFAT   ") },
  { name: "ntfs", at: 3, bytes: ascii("NTFS    ") },
  { name: "iso9660", at: 32769, bytes: ascii("CD001") },
  { name: "squashfs", at: 0, bytes: ascii("hsqs") },
  { name: "erofs", at: 1024, bytes: [0xe2, 0xe1, 0xf5, 0xe0] },
  { name: "f2fs", at: 1024, bytes: [0x10, 0x20, 0xf5, 0xf2] },
];

/** The file system that begins here; undefined for none that is known. */
export function fileSystemOf(disk: DiskBytes): FileSystem | undefined {
  return marks.find(({ at, bytes }) => {
    if (disk.size < at + bytes.length) return false;
    return Buffer.from(bytes).equals(Buffer.from(disk.read(at, bytes.length)));
  })?.name;
}

/** The file systems of a disk: its own, and those of its partitions. */
export function fileSystemsOn(disk: DiskBytes): FileSystem[] {
  // A FAT disk has the mark of a partition table, too, and no table.
  const own = fileSystemOf(disk);
  const found = own ? [own] : partitionsOf(disk).map(fileSystemOf);
  return [...new Set(found.filter((one) => one !== undefined))].sort();
}
