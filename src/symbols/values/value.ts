import { VmtapeError } from "../../base/errors.js";
import { type GuestMemory, MemoryReader } from "../../base/guest-memory.js";
import { hex } from "../../base/units.js";
import { formatType } from "../types/name.js";
import { resolve, sizeOf, type Type } from "../types/type.js";

/**
 * A value of a type: something in memory, which is read when it is needed, or something computed, whose bytes are
 * here.
 */
export interface Value {
  readonly type: Type;
  /** Where it lies in the guest's memory; undefined for what was computed or came from a register. */
  readonly address?: bigint | undefined;
  /** Of a bit field in memory: its first bit within the byte at `address`, and how many bits it has. */
  readonly bits?: { readonly offset: number; readonly size: number } | undefined;
  /** The value itself, little-endian, as long as its type; undefined while it was not read. */
  readonly bytes?: Uint8Array | undefined;
  /** Why there is no value: GDB's `<optimized out>`. */
  readonly missing?: string | undefined;
  /** Stretches of `bytes` that are not known: the compiler has kept only parts of a structure. */
  readonly holes?: readonly Hole[] | undefined;
}

/** Bytes `[start, end)` of a value that are not known, and why. */
export interface Hole {
  readonly start: number;
  readonly end: number;
  readonly missing: string;
}

/** Of holes in a value, what falls into a part of it, counted from the part's start. */
export function holesWithin(holes: readonly Hole[], start: number, length: number): Hole[] {
  return holes
    .filter((hole) => hole.start < start + length && hole.end > start)
    .map(({ start: from, end, missing }) => ({ start: from - start, end: end - start, missing }));
}

/** What GDB says of a value that the compiler has left nowhere. */
export const optimizedOut = "optimized out";

/** No value is larger that is read: a type that says so is damaged, or asked for by mistake. */
export const largestValue = 4 << 20;

/** A value at an address; nothing is read yet. */
export function valueAt(type: Type, address: bigint): Value {
  return { type, address: BigInt.asUintN(64, address) };
}

/** The value of a type that is a number, from the number's low bits. */
export function integerValue(type: Type, value: bigint): Value {
  return { type, bytes: bytesOf(value, sizeOf(type)) };
}

/** The low `size` bytes of a number, little-endian. */
export function bytesOf(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let rest = BigInt.asUintN(size * 8, value);
  for (let i = 0; i < size && rest !== 0n; i++) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/**
 * The bytes of a value, as many as its type has; a bit field is widened to them.
 *
 * @throws VmtapeError `not-mapped` with the first address that has no memory, `limit-exceeded` when it is larger than
 *   `largestValue`, `not-found` when there is no value
 */
export async function loadValue(value: Value, memory: GuestMemory): Promise<Uint8Array> {
  if (value.bytes) return value.bytes;
  if (value.missing !== undefined || value.address === undefined) {
    throw new VmtapeError("not-found", `the value is not there: ${value.missing ?? "no address"}`, {});
  }
  const { type, bits, address } = value;
  const size = checkedSize(type);
  if (!bits) return readMemory(memory, address, size);
  const raw = await readMemory(memory, address, Math.ceil((bits.offset + bits.size) / 8));
  const plain = resolve(type);
  const signed = (plain.kind === "int" || plain.kind === "enum") && plain.signed;
  return bytesOf(extractBits(raw, bits.offset, bits.size, signed), size);
}

/** As `loadValue`, for reading at an address that is known. */
export async function readMemory(memory: GuestMemory, address: bigint, length: number): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0);
  const bytes = await memory.read(address, length);
  if (bytes) return bytes;
  const some = await new MemoryReader(memory).some(address, length);
  throw notMapped(address + BigInt(some.length));
}

/** In GDB's words, with the first address that has no memory. */
export function notMapped(address: bigint): VmtapeError {
  const first = BigInt.asUintN(64, address);
  return new VmtapeError("not-mapped", `Cannot access memory at address ${hex(first)}`, { address: first });
}

/** @throws VmtapeError `limit-exceeded` when no value of this type is read */
export function checkedSize(type: Type): number {
  const size = sizeOf(type);
  if (size <= largestValue) return size;
  throw new VmtapeError(
    "limit-exceeded",
    `a value of type ${formatType(type)} takes ${size} bytes, more than ${largestValue}`,
    { limit: largestValue },
  );
}

/** A number from bits that may start and end anywhere in the bytes, least significant first. */
export function extractBits(bytes: Uint8Array, offset: number, size: number, signed: boolean): bigint {
  const whole = unsigned(bytes) >> BigInt(offset);
  return signed ? BigInt.asIntN(size, whole) : BigInt.asUintN(size, whole);
}

/** A value's bytes as a number: signed where its type is. Pointers and floats give their bits. */
export function toInteger(type: Type, bytes: Uint8Array): bigint {
  const plain = resolve(type);
  const value = unsigned(bytes);
  const signed = (plain.kind === "int" || plain.kind === "enum") && plain.signed;
  return signed ? BigInt.asIntN(bytes.length * 8, value) : value;
}

function unsigned(bytes: Uint8Array): bigint {
  if (bytes.length === 8) {
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  }
  if (bytes.length <= 4) {
    let small = 0;
    for (let i = bytes.length - 1; i >= 0; i--) small = small * 256 + bytes[i]!;
    return BigInt(small);
  }
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

/** A float of 4 or 8 bytes, or the x87's 10 within 10 to 16, as a number. */
export function toFloat(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return view.getFloat32(0, true);
  if (bytes.length === 8) return view.getFloat64(0, true);
  if (bytes.length < 10) return Number.NaN;
  // x87: 64 bits of fraction with an explicit leading one, 15 of exponent, a sign.
  const mantissa = Number(view.getBigUint64(0, true));
  const top = view.getUint16(8, true);
  const exponent = top & 0x7fff;
  const sign = top >> 15 ? -1 : 1;
  if (exponent === 0x7fff) {
    return BigInt.asUintN(63, view.getBigUint64(0, true)) === 0n
      ? sign * Number.POSITIVE_INFINITY
      : Number.NaN;
  }
  // In two steps: 2^exponent alone may be too small for a number.
  return sign * mantissa * 2 ** -63 * 2 ** (exponent - 16383);
}
