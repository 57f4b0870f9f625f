/**
 * The partitions of a disk: the GPT (UEFI specification, section 5.3), or the four primary and the logical ones of an MBR.
 *
 *     MBR sector:  446  four entries of 16 bytes   510  u16 0xaa55
 *     entry:         4  u8 type   8  u32 first sector   12  u32 sectors
 *     GPT header, sector 1:  0  "EFI PART"   72  u64 first sector of the entries   80  u32 entries   84  u32 bytes of each
 *     GPT entry:     0  type, zero for none   32  u64 first sector   40  u64 last sector
 */
import { isVmtapeError } from "../base/errors.js";
import { type DiskBytes, diskPart, fieldsOf } from "./disk-bytes.js";

const sector = 512;
const bootMark = 0xaa55;
const extendedTypes = new Set([0x05, 0x0f, 0x85]);
const gptType = 0xee;
const mostPartitions = 128;

/** The partitions in the order of their numbers; empty when the disk has no table. */
export function partitionsOf(disk: DiskBytes): DiskBytes[] {
  const parts: DiskBytes[] = [];
  const add = (first: number, sectors: number) => {
    const name = `${disk.name}, partition ${parts.length + 1}`;
    const size = Math.min(sectors * sector, disk.size - first * sector);
    if (size > 0) parts.push(diskPart(disk, name, first * sector, size));
  };
  try {
    const table = mbrEntries(disk, 0);
    if (table.some(({ type }) => type === gptType)) addGpt(disk, add);
    else addMbr(disk, table, add);
  } catch (error) {
    if (!isVmtapeError(error, "bad-file")) throw error; // a table that leads out of the disk ends there
  }
  return parts.slice(0, mostPartitions);
}

type Add = (first: number, sectors: number) => void;

function mbrEntries(disk: DiskBytes, at: number) {
  if (disk.size < (at + 1) * sector) return [];
  const fields = fieldsOf(disk.read(at * sector, sector));
  if (fields.getUint16(510, true) !== bootMark) return [];
  return [0, 1, 2, 3].map((i) => {
    const entry = 446 + 16 * i;
    return {
      type: fields.getUint8(entry + 4),
      first: fields.getUint32(entry + 8, true),
      sectors: fields.getUint32(entry + 12, true),
    };
  });
}

function addMbr(disk: DiskBytes, table: ReturnType<typeof mbrEntries>, add: Add): void {
  const isUsed = ({ type, sectors }: (typeof table)[number]) => type !== 0 && sectors !== 0;
  for (const entry of table) {
    if (isUsed(entry) && !extendedTypes.has(entry.type)) add(entry.first, entry.sectors);
  }
  const extended = table.find(({ type }) => extendedTypes.has(type));
  if (!extended) return;
  // Each logical partition has a table that leads to the next; offsets count from itself, or from the first.
  let at = extended.first;
  for (let i = 0; i < mostPartitions; i++) {
    const [own, next] = mbrEntries(disk, at);
    if (own && isUsed(own)) add(at + own.first, own.sectors);
    if (!next || !extendedTypes.has(next.type)) return;
    at = extended.first + next.first;
  }
}

function addGpt(disk: DiskBytes, add: Add): void {
  const head = disk.read(sector, sector);
  if (Buffer.from(head.subarray(0, 8)).toString("latin1") !== "EFI PART") return;
  const fields = fieldsOf(head);
  const start = Number(fields.getBigUint64(72, true)) * sector;
  const count = Math.min(fields.getUint32(80, true), mostPartitions);
  const bytes = fields.getUint32(84, true);
  if (bytes < 128 || bytes > 4096) return;
  for (let i = 0; i < count; i++) {
    const entry = disk.read(start + i * bytes, 128);
    if (entry.subarray(0, 16).every((byte) => byte === 0)) continue;
    const first = Number(fieldsOf(entry).getBigUint64(32, true));
    add(first, Number(fieldsOf(entry).getBigUint64(40, true)) - first + 1);
  }
}
