/**
 * Addresses inside this room's tables are doubles: the 64-bit address read as a signed number. Canonical x86-64
 * addresses (48 bits, sign-extended) and every 32-bit one are exact; tables are sorted in this order, kernel
 * halves first. Addresses at or beyond ±2^53 are not exact and get no name; see `isWordKey` for what can be done with them.
 */
export type AddressKey = number;

/** The key of the address with these words. */
export function keyOfWords(high: number, low: number): AddressKey {
  return (high | 0) * 4294967296 + (low >>> 0);
}

/** The key of an address; the low 64 bits count. */
export function keyOf(address: bigint): AddressKey {
  return Number(BigInt.asIntN(64, address));
}

/** The address of an exact key. */
export function addressOfKey(key: AddressKey): bigint {
  return BigInt.asUintN(64, BigInt(key));
}

/**
 * Whether the key stands for exactly one address, or for one word of memory: with five-level paging the kernel's stacks
 * lie below -2^53, where only addresses that 8 divides are exact, down to the last canonical one.
 */
export function isWordKey(key: AddressKey): boolean {
  return isExactKey(key) || (key >= -widestAddress && key < widestAddress && key % 8 === 0);
}

/** Five-level paging leaves addresses of 57 bits, sign-extended. */
const widestAddress = 2 ** 56;

/** Whether the key stands for exactly one address. */
export function isExactKey(key: AddressKey): boolean {
  return key >= Number.MIN_SAFE_INTEGER && key <= Number.MAX_SAFE_INTEGER;
}
