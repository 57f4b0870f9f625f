import { VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { hex } from "../../base/units.js";
import { isStruct, type Place, resolve, type StructType, sizeOf } from "../../symbols/types/type.js";

/** Structures are read in one piece; none of those wanted here is larger. */
const largestRead = 1 << 16;

/**
 * Reads the wanted members of one kind of structure, at as many addresses as there are. Members are looked up when it
 * is made, so a kernel that lacks one says so before anything is read.
 */
export class StructReader {
  readonly type: StructType;
  private readonly memory: GuestMemory;
  private readonly first: number;
  private readonly length: number;

  /**
   * @param members paths, e.g. `tasks.next`; of names for one thing in several kernels, choose with {@link oneOf}
   * @throws VmtapeError `not-found` when there is no such member
   */
  constructor(memory: GuestMemory, type: StructType, members: readonly string[]) {
    this.memory = memory;
    this.type = type;
    let first = Number.POSITIVE_INFINITY;
    let end = 0;
    for (const path of members) {
      const place = type.member(path);
      first = Math.min(first, place.byteOffset);
      end = Math.max(end, place.byteOffset + bytesOf(place));
    }
    if (end - first > largestRead) throw new RangeError(`${title(type)} is read in too large a piece`);
    this.first = first;
    this.length = end - first;
  }

  /** The structure at an address. @throws VmtapeError `not-mapped` */
  async at(address: bigint): Promise<StructView> {
    const bytes = await this.memory.read(address + BigInt(this.first), this.length);
    if (!bytes) {
      throw new VmtapeError(
        "not-mapped",
        `no ${title(this.type)} at ${hex(address)}: nothing is mapped there`,
        {
          address,
          type: title(this.type),
        },
      );
    }
    return new StructView(this.type, address, bytes, this.first);
  }

  /** Bytes from the structure's start to a member. */
  offset(path: string): bigint {
    return BigInt(this.type.member(path).byteOffset);
  }
}

/** A structure of the guest's memory as it was read. Values are little-endian, as x86 has them. */
export class StructView {
  readonly type: StructType;
  /** Where it lies in the guest. */
  readonly address: bigint;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Offset in the structure of the first byte that was read. */
  private readonly first: number;

  constructor(type: StructType, address: bigint, bytes: Uint8Array, first = 0) {
    this.type = type;
    this.address = address;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.first = first;
  }

  /** An integer, enumeration, flag or bit field of at most 53 bits that matter. */
  number(path: string): number {
    return Number(this.integer(path));
  }

  /** An unsigned word: a pointer, an `unsigned long`. */
  word(path: string): bigint {
    return BigInt.asUintN(64, this.integer(path));
  }

  /** The address of a member. */
  addressOf(path: string): bigint {
    return this.address + BigInt(this.type.member(path).byteOffset);
  }

  /** A `char` array up to its first NUL, as UTF-8. */
  text(path: string): string {
    const { start, length } = this.locate(path);
    const bytes = this.bytes.subarray(start, start + length);
    const end = bytes.indexOf(0);
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8");
  }

  /** The bytes of a member (borrowed). */
  bytesOf(path: string): Uint8Array {
    const { start, length } = this.locate(path);
    return this.bytes.subarray(start, start + length);
  }

  private integer(path: string): bigint {
    const { place, start, length } = this.locate(path);
    let value: bigint;
    if (length === 8) value = this.view.getBigUint64(start, true);
    else if (length === 4) value = BigInt(this.view.getUint32(start, true));
    else if (length === 2) value = BigInt(this.view.getUint16(start, true));
    else if (length === 1) value = BigInt(this.view.getUint8(start));
    else throw new RangeError(`${title(this.type)}.${path} is no integer`);
    const bits = place.bitSize ?? length * 8;
    if (place.bitSize !== undefined) value >>= BigInt(place.bitOffset ?? 0);
    const type = resolve(place.type);
    const signed = (type.kind === "int" || type.kind === "enum") && type.signed;
    return signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  }

  private locate(path: string): { readonly place: Place; readonly start: number; readonly length: number } {
    const place = this.type.member(path);
    const start = place.byteOffset - this.first;
    const length = bytesOf(place);
    if (start < 0 || start + length > this.view.byteLength) {
      throw new RangeError(`${title(this.type)}.${path} was not read`);
    }
    return { place, start, length };
  }
}

/** The first of several members that a structure has: kernels rename them. @throws VmtapeError `not-found` */
export function oneOf(type: StructType, ...paths: readonly [string, ...string[]]): string {
  return paths.find((path) => type.findMember(path) !== undefined) ?? missing(type, paths);
}

function missing(type: StructType, paths: readonly string[]): never {
  const names = paths.map((path) => `'${path}'`).join(" nor ");
  throw new VmtapeError(
    "not-found",
    `${title(type)} has ${paths.length > 1 ? "neither" : "no member"} ${names}`,
    {
      got: paths[0],
      type: title(type),
    },
  );
}

/** Bytes that hold a member; of a bit field, as many whole ones as its bits touch, rounded up to a readable size. */
function bytesOf({ type, bitSize, bitOffset = 0 }: Place): number {
  if (bitSize === undefined) return sizeOf(type);
  const bytes = Math.ceil((bitOffset + bitSize) / 8);
  return bytes <= 2 ? bytes : bytes <= 4 ? 4 : 8;
}

function title(type: StructType): string {
  return `${isStruct(type) ? type.kind : "struct"} ${type.name ?? "{...}"}`;
}
