/**
 * The contents of a qcow2 image, for reading. Source: QEMU, docs/interop/qcow2.txt. All integers are big-endian.
 *
 *      0  u32 magic   4  u32 version   20  u32 cluster bits   24  u64 virtual size   32  u32 encryption, 0 for none
 *     36  u32 entries of the L1 table   40  u64 its offset
 *     version 3:  72  u64 incompatible features   100  u32 header length   104  u8 compression: 0 zlib, 1 zstd
 *
 *     L1 entry: bits 9-55 the offset of an L2 table of one cluster, 0 for none
 *     L2 entry: bit 62 compressed; else bits 9-55 the cluster's offset, bit 0 "reads as zeros"
 *     compressed: with x = 62 - (cluster bits - 8), bits 0 to x-1 the offset, x to 61 the further 512-byte sectors
 */
import { inflateRawSync } from "node:zlib";
import { decompress } from "../base/compression/decompress.js";
import { VmtapeError } from "../base/errors.js";
import { type DiskBytes, fieldsOf, requireRange } from "./disk-bytes.js";
import { decodeQcow2Head, qcow2HeadBytes } from "./qcow2.js";

const offsetMask = 0x00fffffffffffe00n;
const compressedBit = 1n << 62n;
const zeroBit = 1n;
const compression = { zlib: 0, zstd: 1 } as const;
/** Dirty and corrupt say nothing about reading; a compression type is read below. */
const readableFeatures = 1n | 2n | 8n;
/** L1 tables of disks up to 2 TiB with 64 KiB clusters have 4,096 entries. */
const mostL1Entries = 1 << 20;
/** L2 tables kept: 64 of 64 KiB tell of 32 GiB. */
const mostTables = 64;

/**
 * Opens an image.
 *
 * @param backing what lies below it, whatever file it names; without one, what it does not hold reads as zeros
 * @throws VmtapeError `bad-file` when it is damaged, `unsupported` when encrypted or with features not known here
 */
export function openQcow2(file: DiskBytes, backing?: DiskBytes): DiskBytes {
  const { name } = file;
  const head = file.read(0, Math.min(file.size, 112));
  const { hasExternalData, virtualBytes } = decodeQcow2Head(head.subarray(0, qcow2HeadBytes), name);
  const fields = fieldsOf(head);
  const isThird = fields.getUint32(4) === 3;
  const features = isThird ? fields.getBigUint64(72) : 0n;
  if (hasExternalData || fields.getUint32(32) !== 0 || (features & ~readableFeatures) !== 0n) {
    throw new VmtapeError("unsupported", `${name} is a qcow2 image of a kind that is not read here`, {
      file: name,
    });
  }
  const bits = fields.getUint32(20);
  const entries = fields.getUint32(36);
  if (bits < 9 || bits > 21 || entries > mostL1Entries || virtualBytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new VmtapeError("bad-file", `the head of ${name} is damaged`, { file: name });
  }
  const method = isThird && head.length > 104 && fields.getUint32(100) > 104 ? head[104]! : compression.zlib;
  const layout = { bits, method, size: Number(virtualBytes) };
  return new Qcow2Image(file, backing, layout, file.read(Number(fields.getBigUint64(40)), 8 * entries));
}

interface Qcow2Layout {
  readonly bits: number;
  readonly method: number;
  readonly size: number;
}

class Qcow2Image implements DiskBytes {
  readonly name: string;
  readonly size: number;
  private readonly file: DiskBytes;
  private readonly backing: DiskBytes | undefined;
  private readonly bits: number;
  private readonly method: number;
  private readonly l1: DataView;
  private readonly tables = new Map<number, DataView>();
  private unpacked: { readonly entry: bigint; readonly bytes: Uint8Array } | undefined;

  constructor(file: DiskBytes, backing: DiskBytes | undefined, layout: Qcow2Layout, l1: Uint8Array) {
    this.file = file;
    this.backing = backing;
    this.name = file.name;
    this.size = layout.size;
    this.bits = layout.bits;
    this.method = layout.method;
    this.l1 = fieldsOf(l1);
  }

  read(offset: number, length: number): Uint8Array {
    requireRange(this, offset, length);
    const bytes = new Uint8Array(length);
    const cluster = 2 ** this.bits;
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const within = at % cluster;
      const part = bytes.subarray(done, done + Math.min(length - done, cluster - within));
      this.fill(part, Math.floor(at / cluster), within, at);
      done += part.length;
    }
    return bytes;
  }

  /** Fills `part` with what is at `within` of a cluster; it is zeros already. */
  private fill(part: Uint8Array, cluster: number, within: number, at: number): void {
    const entry = this.entryOf(cluster);
    const place = Number(entry & offsetMask);
    if (entry & compressedBit) part.set(this.unpack(entry).subarray(within, within + part.length));
    else if (entry & zeroBit) return;
    else if (place !== 0) part.set(readable(this.file, place + within, part.length));
    else if (this.backing) part.set(readable(this.backing, at, part.length));
  }

  private entryOf(cluster: number): bigint {
    const perTable = 2 ** (this.bits - 3);
    const index = Math.floor(cluster / perTable);
    if (8 * index >= this.l1.byteLength) return 0n;
    const place = Number(this.l1.getBigUint64(8 * index) & offsetMask);
    if (place === 0) return 0n;
    let table = this.tables.get(place);
    if (!table) {
      table = fieldsOf(this.file.read(place, 2 ** this.bits));
      if (this.tables.size >= mostTables) this.tables.clear();
      this.tables.set(place, table);
    }
    return table.getBigUint64(8 * (cluster % perTable));
  }

  private unpack(entry: bigint): Uint8Array {
    if (this.unpacked?.entry === entry) return this.unpacked.bytes;
    const offsetBits = BigInt(62 - (this.bits - 8));
    const offset = Number(entry & ((1n << offsetBits) - 1n));
    const sectors = Number((entry & (compressedBit - 1n)) >> offsetBits) + 1;
    const packed = readable(this.file, offset, sectors * 512 - (offset % 512));
    const size = 2 ** this.bits;
    const bytes = new Uint8Array(size);
    bytes.set(this.inflate(packed, size).subarray(0, size));
    this.unpacked = { entry, bytes };
    return bytes;
  }

  private inflate(packed: Uint8Array, size: number): Uint8Array {
    try {
      if (this.method === compression.zstd) return decompress(packed, { maximum: size }).bytes;
      // The last sector holds the beginning of the next cluster.
      return inflateRawSync(packed, { maxOutputLength: size, finishFlush: 2 });
    } catch (error) {
      throw new VmtapeError("bad-file", `${this.name} holds a damaged cluster`, { file: this.name }, error);
    }
  }
}

/** What lies after the end of a file or of a shorter backing disk reads as zeros. */
function readable(disk: DiskBytes, offset: number, length: number): Uint8Array {
  const there = Math.max(0, Math.min(length, disk.size - offset));
  return there > 0 ? disk.read(offset, there) : new Uint8Array(0);
}
