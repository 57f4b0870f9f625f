import { createHash } from "node:crypto";
import { ByteReader } from "../base/bytes.js";

/**
 * First visits of a tape (docs/FORMATS.md, "First visits"): the icount at which each instruction was reached for the first
 * time. What the branch plugin sends stands in it byte for byte.
 */
export interface FirstVisits {
  /** SHA-256 of the log it belongs to. */
  readonly log: string;
  /** From the tape's beginning to this icount no visit is missing. */
  readonly to: number;
  /** There are so many that no more are gathered. */
  readonly isFull: boolean;
  /** What each pass through the tape saw, from where it began; later ones may say again what earlier ones did. */
  readonly passes: readonly VisitedPass[];
}

export interface VisitedPass {
  /** Stretches of instructions, in the order of time. */
  readonly stretches: Uint8Array;
}

const magic = 0x4953_5656_5453_5246n; // "FRSTVVSI"
const version = 1;
const headerBytes = 64;
const sealBytes = 32;
const fullFlag = 1;
/** A longer file is none of ours. */
export const longestFirstVisits = 512 << 20;

export function encodeFirstVisits({ log, to, isFull, passes }: FirstVisits): Uint8Array {
  const header = Buffer.alloc(headerBytes);
  header.writeBigUInt64LE(magic, 0);
  header.writeUInt32LE(version, 8);
  header.writeUInt32LE(isFull ? fullFlag : 0, 12);
  header.write(log, 16, "hex");
  header.writeBigUInt64LE(BigInt(to), 48);
  header.writeBigUInt64LE(BigInt(passes.length), 56);
  const parts: Uint8Array[] = [header];
  for (const { stretches } of passes) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(stretches.length));
    parts.push(length, stretches);
  }
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return Buffer.concat([...parts, hash.digest()]);
}

/** Undefined for anything that {@link encodeFirstVisits} did not write. */
export function decodeFirstVisits(bytes: Uint8Array): FirstVisits | undefined {
  if (bytes.length < headerBytes + sealBytes) return undefined;
  const sealed = bytes.subarray(0, -sealBytes);
  if (!createHash("sha256").update(sealed).digest().equals(bytes.subarray(-sealBytes))) return undefined;
  try {
    const reader = new ByteReader(sealed, "first visits");
    if (reader.u64() !== magic || reader.u32() !== version) return undefined;
    const isFull = (reader.u32() & fullFlag) !== 0;
    const log = Buffer.from(reader.slice(32)).toString("hex");
    const to = Number(reader.u64());
    const count = Number(reader.u64());
    const passes: VisitedPass[] = [];
    for (let i = 0; i < count; i++) passes.push({ stretches: reader.slice(Number(reader.u64())) });
    return { log, to, isFull, passes };
  } catch {
    return undefined;
  }
}

/**
 * The icount of the first visit of an instruction, among those that were noted; undefined when there is none.
 *
 * Cost: 100 million instructions' worth of stretches a second; 10 ms for a boot.
 */
export function firstVisit({ passes }: Pick<FirstVisits, "passes">, address: bigint): number | undefined {
  let first: number | undefined;
  for (const { stretches } of passes) {
    const found = firstOf(stretches, address);
    if (found !== undefined && (first === undefined || found < first)) first = found;
  }
  return first;
}

const word = 2 ** 32;

function firstOf(bytes: Uint8Array, address: bigint): number | undefined {
  const wantedHigh = Number((address >> 32n) & 0xffff_ffffn);
  const wantedLow = Number(address & 0xffff_ffffn);
  let at = 0;
  let icount = 0;
  // The address after the last stretch, in two halves: addresses have 64 bits.
  let high = 0;
  let low = 0;
  // The number that was read last.
  let upper = 0;
  let lower = 0;
  const number = () => {
    upper = 0;
    lower = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("first visits are cut off");
      const bits = byte & 0x7f;
      if (shift < 32) lower |= bits << shift;
      if (shift > 25) upper |= shift < 32 ? bits >>> (32 - shift) : bits << (shift - 32);
      if (byte < 0x80) break;
    }
    lower >>>= 0;
    upper >>>= 0;
  };
  while (at < bytes.length) {
    number();
    icount += upper * word + lower;
    number();
    const isBack = (lower & 1) !== 0;
    lower = ((lower >>> 1) | (upper << 31)) >>> 0;
    upper >>>= 1;
    if (isBack) {
      lower = ~lower >>> 0;
      upper = ~upper >>> 0;
    }
    low += lower;
    high = (high + upper + (low >= word ? 1 : 0)) >>> 0;
    low >>>= 0;
    number();
    const count = lower;
    // How far the wanted address lies after the stretch's beginning: inexact only where it is far.
    const distance = (wantedHigh - high) * word + (wantedLow - low);
    let length = 0;
    for (let i = 0; i < count; i++) {
      if (length === distance) return icount + i;
      const pair = bytes[at + (i >> 1)] ?? 0;
      length += (i & 1) === 0 ? pair & 15 : pair >> 4;
    }
    at += (count + 1) >> 1;
    low += length;
    high = (high + (low >= word ? 1 : 0)) >>> 0;
    low >>>= 0;
  }
  return undefined;
}
