/**
 * Units as types: counts and addresses that must not be mixed. All are `bigint` at the API; hot loops keep
 * them in typed arrays or as `number` where the value is proved to be below 2^53.
 */

declare const unit: unique symbol;
type Unit<Name extends string> = bigint & { readonly [unit]: Name };

/** Guest instructions executed since the tape began: the canonical position. */
export type Icount = Unit<"icount">;
/** Branch records since the tape began. */
export type Brctr = Unit<"brctr">;
/** Guest virtual address. */
export type GuestAddress = Unit<"guest virtual address">;
/** Guest physical address. */
export type PhysicalAddress = Unit<"guest physical address">;

/** `value` as an instruction count; a RangeError when negative. */
export function icount(value: bigint | number): Icount {
  return natural(value, "an icount") as Icount;
}

/** `value` as a branch count; a RangeError when negative. */
export function brctr(value: bigint | number): Brctr {
  return natural(value, "a brctr") as Brctr;
}

/** The low 64 bits of `value` as a guest virtual address. */
export function guestAddress(value: bigint | number): GuestAddress {
  return BigInt.asUintN(64, BigInt(value)) as GuestAddress;
}

/** The low 64 bits of `value` as a guest physical address. */
export function physicalAddress(value: bigint | number): PhysicalAddress {
  return BigInt.asUintN(64, BigInt(value)) as PhysicalAddress;
}

/** `0x` and at least one hexadecimal digit. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

function natural(value: bigint | number, what: string): bigint {
  const count = BigInt(value);
  if (count < 0n) throw new RangeError(`${what} cannot be negative: ${count}`);
  return count;
}

/** The first address of the upper half of the address space, which is the kernel's. */
export const firstKernelAddress = 1n << 63n;
