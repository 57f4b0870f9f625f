import { agentOps } from "../../formats/agent-opcodes.js";
import { x86Register } from "../../qemu/x86-registers.js";

/**
 * Expressions that a probe evaluates at a hit, as GDB's agent bytecode: start from a register or a constant, and follow
 * offsets and pointers. Source: GDB manual, appendix "The GDB Agent Expression Mechanism"; operands are big-endian.
 */
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
  return code([agentOps.reg[0], number >> 8, number & 0xff]);
}

export function constant(value: number | bigint): Code {
  return code(constantCode(value));
}

function constantCode(value: number | bigint): number[] {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)));
  return [agentOps.const64[0], ...bytes];
}

function code(parts: readonly number[]): Code {
  return {
    plus: (offset) =>
      BigInt(offset) === 0n ? code(parts) : code([...parts, ...constantCode(offset), agentOps.add[0]]),
    // Its end is cut off.
    minus: (other) => code([...parts, ...other.bytes.subarray(0, -1), agentOps.sub[0]]),
    follow: () => code([...parts, agentOps.ref64[0]]),
    and: (bits) => code([...parts, ...constantCode(bits), agentOps.bit_and[0]]),
    shifted: (bits) => code([...parts, ...constantCode(bits), agentOps.lsh[0]]),
    bytes: Uint8Array.from([...parts, agentOps.end[0]]),
  };
}
