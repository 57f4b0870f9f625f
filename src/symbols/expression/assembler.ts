import { type AgentOp, agentOps } from "../../formats/agent-opcodes.js";

/** Writes an agent expression, one operation after the other. */
export class Assembler {
  private readonly code: number[] = [];

  get length(): number {
    return this.code.length;
  }

  op(name: AgentOp): void {
    this.code.push(agentOps[name][0]);
  }

  /** Pushes a number, in the shortest way. */
  constant(value: bigint): void {
    const signed = BigInt.asIntN(64, value);
    const size = signed >= 0n ? sizeOfUnsigned(signed) : sizeOfSigned(signed);
    const name = `const${size}` as AgentOp;
    this.op(name);
    this.operand(BigInt.asUintN(size, signed), size / 8);
    if (signed < 0n && size < 64) this.signExtend(size);
  }

  register(number: number): void {
    this.op("reg");
    this.operand(BigInt(number), 2);
  }

  /** Makes the top's low bits a signed number of all 64. */
  signExtend(bits: number): void {
    if (bits >= 64) return;
    this.op("ext");
    this.code.push(bits);
  }

  /** Clears all but the top's low bits. */
  zeroExtend(bits: number): void {
    if (bits >= 64) return;
    this.op("zero_ext");
    this.code.push(bits);
  }

  /** A jump whose target is not known yet: give what it returns to `land`. */
  jump(name: "goto" | "if_goto"): number {
    this.op(name);
    this.operand(0n, 2);
    return this.length - 2;
  }

  /** A jump leads here. */
  land(jump: number): void {
    this.code[jump] = this.length >> 8;
    this.code[jump + 1] = this.length & 0xff;
  }

  /** Takes back what was written from a length on. */
  cut(length: number): void {
    this.code.length = length;
  }

  bytes(): Uint8Array {
    return Uint8Array.from([...this.code, agentOps.end[0]]);
  }

  private operand(value: bigint, size: number): void {
    for (let i = size - 1; i >= 0; i--) this.code.push(Number((value >> BigInt(i * 8)) & 0xffn));
  }
}

function sizeOfUnsigned(value: bigint): 8 | 16 | 32 | 64 {
  return value < 1n << 8n ? 8 : value < 1n << 16n ? 16 : value < 1n << 32n ? 32 : 64;
}

function sizeOfSigned(value: bigint): 8 | 16 | 32 | 64 {
  return value >= -128n ? 8 : value >= -32768n ? 16 : value >= -(1n << 31n) ? 32 : 64;
}
