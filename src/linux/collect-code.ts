import { x86Register } from "../qemu/x86-registers.js";

/**
 * Expressions that a probe evaluates at a hit, as GDB's agent bytecode: start from a register or a constant, and follow
 * offsets and pointers. Source: GDB manual, appendix "The GDB Agent Expression Mechanism"; operands are big-endian.
 */
const op = {
  add: 0x02,
  subtract: 0x03,
  shiftLeft: 0x09,
  bitAnd: 0x0f,
  ref64: 0x1a,
  const64: 0x25,
  register: 0x26,
  end: 0x27,
} as const;

export interface Code {
  /** This plus a number of bytes. */
  plus(offset: number | bigint): Code;
  /** This less another. */
  minus(other: Code): Code;
  /** The word this points to. */
  follow(): Code;
  and(bits: bigint): Code;
  /** This times a power of two. */
  shifted(bits: number): Code;
  /** The finished bytecode. */
  readonly bytes: Uint8Array;
}

/** The value of a register of 64 bits. */
export function register(name: string): Code {
  const { number } = x86Register(name)!;
  return code([op.register, number >> 8, number & 0xff]);
}

export function constant(value: number | bigint): Code {
  return code(constantCode(value));
}

function constantCode(value: number | bigint): number[] {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)));
  return [op.const64, ...bytes];
}

function code(parts: readonly number[]): Code {
  return {
    plus: (offset) =>
      BigInt(offset) === 0n ? code(parts) : code([...parts, ...constantCode(offset), op.add]),
    // Its end is cut off.
    minus: (other) => code([...parts, ...other.bytes.subarray(0, -1), op.subtract]),
    follow: () => code([...parts, op.ref64]),
    and: (bits) => code([...parts, ...constantCode(bits), op.bitAnd]),
    shifted: (bits) => code([...parts, ...constantCode(bits), op.shiftLeft]),
    bytes: Uint8Array.from([...parts, op.end]),
  };
}
