/**
 * Files of an ext2, ext3 or ext4 file system, for reading. Source: the kernel's Documentation/filesystems/ext4.
 *
 *     superblock at 1024:   24  u32 log2(block size) - 10   20  u32 first data block   40  u32 inodes per group
 *         56  u16 magic 0xef53   88  u16 inode size   96  u32 incompatible features   254  u16 group descriptor size
 *     group descriptor:      8  u32 inode table, 40  its upper half (64 bit)
 *     inode:    0  u16 mode   4  u32 size, 108  its upper half   32  u32 flags   40  60 bytes: extents, blocks or a link
 *     extent header:  0  u16 0xf30a   2  u16 entries   6  u16 depth
 *     extent:         0  u32 first block of the file   4  u16 blocks   6  u16, 8  u32 where
 *     extent index:   0  u32 first block of the file   4  u32, 8  u16 the block with what is below it
 *     directory entry: 0  u32 inode   4  u16 length   6  u8 length of the name   8  name
 *
 * The journal is not read: what a machine that was cut off had only there is as it was before.
 */
import { VmtapeError } from "../base/errors.js";
import { type DiskBytes, fieldsOf, requireRange } from "./disk-bytes.js";

const superblockOffset = 1024;
const magic = 0xef53;
const rootInode = 2;
const features = { metaGroups: 0x10, wide: 0x80 } as const;
const flags = { encrypted: 0x800, extents: 0x80000, inline: 0x10000000 } as const;
const fileTypes = { mask: 0xf000, directory: 0x4000, file: 0x8000, link: 0xa000 } as const;
const extentMagic = 0xf30a;
const deepestExtents = 5;
const mostExtents = 1 << 20;
const mostLinks = 40;
/** Of a directory: some 10 million names. */
const mostDirectoryBytes = 1 << 28;
const longestLink = 4096;
/** A size is only what an inode says. */
const mostBytesAtOnce = 2 ** 31 - 1;

/** Does an ext file system begin here? */
export function isExt4(disk: DiskBytes): boolean {
  return (
    disk.size >= 2 * superblockOffset &&
    fieldsOf(disk.read(superblockOffset, 58)).getUint16(56, true) === magic
  );
}

/** What is known of a file. */
export interface Ext4Inode {
  readonly number: number;
  readonly kind: "file" | "directory" | "link" | "other";
  readonly size: number;
  readonly flags: number;
  /** Where its blocks are said. */
  readonly map: Uint8Array;
}

/** A stretch of a file's blocks that lie together; `at` 0: a hole. */
interface Run {
  readonly first: number;
  readonly blocks: number;
  readonly at: number;
}

/** A file system that was opened. */
export class Ext4 {
  private readonly directories = new Map<number, ReadonlyMap<string, number>>();

  private constructor(
    private readonly disk: DiskBytes,
    private readonly blockBytes: number,
    private readonly inodeBytes: number,
    private readonly inodesPerGroup: number,
    private readonly descriptorBytes: number,
    private readonly descriptors: number,
    private readonly inodes: number,
  ) {}

  /**
   * @throws VmtapeError `bad-file` when it is none, or damaged; `unsupported` for one whose groups are described elsewhere
   */
  static open(disk: DiskBytes): Ext4 {
    if (!isExt4(disk)) {
      throw new VmtapeError("bad-file", `${disk.name} holds no ext4 file system`, { file: disk.name });
    }
    const fields = fieldsOf(disk.read(superblockOffset, 1024));
    const u32 = (offset: number) => fields.getUint32(offset, true);
    const incompatible = u32(96);
    if (incompatible & features.metaGroups) {
      throw new VmtapeError("unsupported", `${disk.name} is an ext4 file system with meta groups`, {
        file: disk.name,
      });
    }
    const logBlock = u32(24);
    const inodeBytes = u32(76) === 0 ? 128 : fields.getUint16(88, true);
    const inodesPerGroup = u32(40);
    const isWide = (incompatible & features.wide) !== 0;
    const descriptorBytes = isWide ? fields.getUint16(254, true) : 32;
    if (logBlock > 6 || inodeBytes < 128 || inodesPerGroup === 0 || descriptorBytes < 32) {
      throw new VmtapeError("bad-file", `the superblock of ${disk.name} is damaged`, { file: disk.name });
    }
    const blockBytes = 1024 << logBlock;
    const descriptors = (u32(20) + 1) * blockBytes;
    return new Ext4(disk, blockBytes, inodeBytes, inodesPerGroup, descriptorBytes, descriptors, u32(0));
  }

  /**
   * The file at a path; links are followed. Undefined when there is none.
   *
   * @throws VmtapeError `bad-file` where the file system is damaged
   */
  find(path: string): Ext4Inode | undefined {
    let waiting = split(path);
    let directory = [this.inode(rootInode)];
    let links = 0;
    while (waiting.length > 0) {
      const [name, ...rest] = waiting;
      waiting = rest;
      if (name === "..") {
        if (directory.length > 1) directory = directory.slice(0, -1);
        continue;
      }
      const here = directory.at(-1)!;
      const number = here.kind === "directory" ? this.namesOf(here).get(name!) : undefined;
      if (number === undefined) return undefined;
      const found = this.inode(number);
      if (found.kind !== "link") {
        directory = [...directory, found];
        continue;
      }
      if (++links > mostLinks) return undefined;
      const target = this.linkOf(found);
      if (target.startsWith("/")) directory = directory.slice(0, 1);
      waiting = [...split(target), ...rest];
    }
    return directory.at(-1);
  }

  /**
   * An inode by its number.
   *
   * @throws VmtapeError `bad-file` when there is no such number
   */
  inode(number: number): Ext4Inode {
    if (!(number >= 1 && number <= this.inodes)) throw this.damaged(`it has no inode ${number}`);
    const group = Math.floor((number - 1) / this.inodesPerGroup);
    const descriptor = fieldsOf(
      this.disk.read(this.descriptors + group * this.descriptorBytes, this.descriptorBytes),
    );
    const upper = this.descriptorBytes >= 64 ? descriptor.getUint32(40, true) : 0;
    const table = (descriptor.getUint32(8, true) + upper * 2 ** 32) * this.blockBytes;
    const bytes = this.disk.read(table + ((number - 1) % this.inodesPerGroup) * this.inodeBytes, 128);
    const fields = fieldsOf(bytes);
    const type = fields.getUint16(0, true) & fileTypes.mask;
    const kind =
      type === fileTypes.file
        ? "file"
        : type === fileTypes.directory
          ? "directory"
          : type === fileTypes.link
            ? "link"
            : "other";
    return {
      number,
      kind,
      size: fields.getUint32(4, true) + fields.getUint32(108, true) * 2 ** 32,
      flags: fields.getUint32(32, true),
      map: bytes.slice(40, 100),
    };
  }

  /**
   * The contents of a file. Costs one read of where its blocks are.
   *
   * @throws VmtapeError `bad-file` when that is damaged; `unsupported` when it is encrypted or in its inode
   */
  open(inode: Ext4Inode, name: string): DiskBytes {
    const runs = this.runsOf(inode);
    const { size } = inode;
    const file: DiskBytes = {
      name,
      size,
      read: (offset, length) => {
        requireRange(file, offset, length);
        return this.readRuns(runs, offset, length);
      },
    };
    return file;
  }

  private readRuns(runs: readonly Run[], offset: number, length: number): Uint8Array {
    if (length > mostBytesAtOnce) throw this.damaged(`${length} bytes of a file are not read at once`);
    const bytes = new Uint8Array(length);
    const { blockBytes } = this;
    let index = lastBefore(runs, Math.floor(offset / blockBytes));
    for (; index < runs.length; index++) {
      const { first, blocks, at } = runs[index]!;
      const from = Math.max(offset, first * blockBytes);
      const to = Math.min(offset + length, (first + blocks) * blockBytes);
      if (first * blockBytes >= offset + length) break;
      if (to > from && at !== 0) {
        bytes.set(this.disk.read(at * blockBytes + from - first * blockBytes, to - from), from - offset);
      }
    }
    return bytes;
  }

  private namesOf(directory: Ext4Inode): ReadonlyMap<string, number> {
    const known = this.directories.get(directory.number);
    if (known) return known;
    if (directory.size > mostDirectoryBytes) throw this.damaged("a directory is too long");
    const bytes = this.readRuns(this.runsOf(directory), 0, directory.size);
    const fields = fieldsOf(bytes);
    const names = new Map<string, number>();
    for (let at = 0; at + 8 <= bytes.length; ) {
      const inode = fields.getUint32(at, true);
      const length = fields.getUint16(at + 4, true);
      const nameLength = fields.getUint8(at + 6);
      if (length < 8) break;
      // Inner nodes of a hashed directory are entries without an inode.
      if (inode !== 0 && nameLength > 0 && at + 8 + nameLength <= bytes.length) {
        names.set(Buffer.from(bytes.subarray(at + 8, at + 8 + nameLength)).toString(), inode);
      }
      at += length;
    }
    this.directories.set(directory.number, names);
    return names;
  }

  private linkOf(link: Ext4Inode): string {
    if (link.size > longestLink) throw this.damaged("a link is too long");
    const isShort = link.size < link.map.length && (link.flags & flags.extents) === 0;
    const bytes = isShort ? link.map.subarray(0, link.size) : this.readRuns(this.runsOf(link), 0, link.size);
    return Buffer.from(bytes).toString();
  }

  /** Where a file's blocks are, ascending. */
  private runsOf({ flags: own, map, size }: Ext4Inode): Run[] {
    if (own & (flags.encrypted | flags.inline)) {
      throw new VmtapeError("unsupported", `a file of ${this.disk.name} is encrypted, or in its inode`, {
        file: this.disk.name,
      });
    }
    const runs: Run[] = [];
    if (own & flags.extents) this.addExtents(map, deepestExtents, runs);
    else this.addBlocks(fieldsOf(map), Math.ceil(size / this.blockBytes), runs);
    return runs;
  }

  private addExtents(node: Uint8Array, depth: number, runs: Run[]): void {
    const fields = fieldsOf(node);
    const entries = fields.getUint16(2, true);
    const isLeaf = fields.getUint16(6, true) === 0;
    const fits = 12 * (entries + 1) <= node.length && (isLeaf || depth > 0);
    if (fields.getUint16(0, true) !== extentMagic || !fits)
      throw this.damaged("where a file lies is damaged");
    for (let at = 12; at <= 12 * entries; at += 12) {
      if (!isLeaf) {
        const block = fields.getUint32(at + 4, true) + fields.getUint16(at + 8, true) * 2 ** 32;
        this.addExtents(this.block(block), depth - 1, runs);
        continue;
      }
      const length = fields.getUint16(at + 4, true);
      const isWritten = length <= 0x8000;
      const place = fields.getUint32(at + 8, true) + fields.getUint16(at + 6, true) * 2 ** 32;
      runs.push({
        first: fields.getUint32(at, true),
        blocks: isWritten ? length : length - 0x8000,
        at: isWritten ? place : 0,
      });
      if (runs.length > mostExtents) throw this.damaged("a file has too many pieces");
    }
  }

  /** The map of ext2: twelve blocks, then a block of numbers of blocks, and such of one and two levels more. */
  private addBlocks(map: DataView, blocks: number, runs: Run[]): void {
    const perBlock = this.blockBytes / 4;
    let first = 0;
    const add = (at: number, level: number): void => {
      if (first >= blocks) return;
      if (level === 0 || at === 0) {
        const length = level === 0 ? 1 : perBlock ** level;
        const before = runs.at(-1);
        const joins =
          before && at !== 0 && before.at + before.blocks === at && before.first + before.blocks === first;
        if (joins) runs[runs.length - 1] = { ...before, blocks: before.blocks + 1 };
        else if (at !== 0) runs.push({ first, blocks: 1, at });
        first += length;
        if (runs.length > mostExtents) throw this.damaged("a file has too many pieces");
        return;
      }
      const numbers = fieldsOf(this.block(at));
      for (let i = 0; i < perBlock && first < blocks; i++) add(numbers.getUint32(4 * i, true), level - 1);
    };
    for (let i = 0; i < 12; i++) add(map.getUint32(4 * i, true), 0);
    for (let level = 1; level <= 3; level++) add(map.getUint32(4 * (11 + level), true), level);
  }

  private block(number: number): Uint8Array {
    return this.disk.read(number * this.blockBytes, this.blockBytes);
  }

  private damaged(why: string): VmtapeError {
    return new VmtapeError("bad-file", `the file system of ${this.disk.name} is damaged: ${why}`, {
      file: this.disk.name,
    });
  }
}

function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** The index of the last run that begins at or before a block; 0 when none does. */
function lastBefore(runs: readonly Run[], block: number): number {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle]!.first <= block) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
