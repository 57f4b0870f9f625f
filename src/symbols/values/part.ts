import type { GuestMemory } from "../../base/guest-memory.js";
import { type Place, resolve, sizeOf, type Type } from "../types/type.js";
import { holesWithin, loadValue, type Value, valueAt } from "./value.js";

/** A member of a structure; nothing is read of one that lies in memory. */
export async function memberOf(owner: Value, place: Place, memory: GuestMemory): Promise<Value> {
  const { type, byteOffset, bitOffset = 0, bitSize } = place;
  const bits = bitSize === undefined ? undefined : { offset: bitOffset, size: bitSize };
  if (owner.address !== undefined) {
    return { type, address: BigInt.asUintN(64, owner.address + BigInt(byteOffset)), bits };
  }
  return pieceOf(owner, { type, offset: byteOffset, bits }, memory);
}

/** A part of a value, `offset` bytes from its start, that is not in memory. */
export async function pieceOf(
  owner: Value,
  { type, offset, bits }: { readonly type: Type; readonly offset: number; readonly bits?: Value["bits"] },
  memory: GuestMemory,
): Promise<Value> {
  const whole = await loadValue(owner, memory);
  const length = bits ? Math.ceil((bits.offset + bits.size) / 8) : sizeOf(type);
  const part = whole.subarray(offset, offset + length);
  const holes = holesWithin(owner.holes ?? [], offset, length);
  if (holes.some(({ start, end }) => start <= 0 && end >= length))
    return { type, missing: holes[0]!.missing };
  if (!bits) return holes.length > 0 ? { type, bytes: part, holes } : { type, bytes: part };
  const own = { read: async (_at: bigint, length: number) => part.slice(0, length) };
  return { type, bytes: await loadValue({ type, address: 0n, bits }, own) };
}

/** What a pointer leads to; nothing is read of it but the pointer. Undefined for a null pointer, and for no pointer. */
export async function targetOf(value: Value, memory: GuestMemory): Promise<Value | undefined> {
  const plain = resolve(value.type);
  if (plain.kind !== "pointer") return undefined;
  const bytes = await loadValue(value, memory);
  const address = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return address === 0n ? undefined : valueAt(plain.target, address);
}
