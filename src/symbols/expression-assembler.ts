/**
 * The opcodes of GDB's agent expressions that the compiler writes (GDB manual, appendix "The GDB Agent Expression
 * Mechanism"), and the plugin's own. Operands are big-endian and follow their opcode.
 */
export const agentOpcode = {
  add: 0x02,
  sub: 0x03,
  mul: 0x04,
  divSigned: 0x05,
  divUnsigned: 0x06,
  remSigned: 0x07,
  remUnsigned: 0x08,
  lsh: 0x09,
  rshSigned: 0x0a,
  rshUnsigned: 0x0b,
  logNot: 0x0e,
  bitAnd: 0x0f,
  bitOr: 0x10,
  bitXor: 0x11,
  bitNot: 0x12,
  equal: 0x13,
  lessSigned: 0x14,
  lessUnsigned: 0x15,
  ext: 0x16,
  ref8: 0x17,
  ref16: 0x18,
  ref32: 0x19,
  ref64: 0x1a,
  ifGoto: 0x20,
  goto: 0x21,
  const8: 0x22,
  const16: 0x23,
  const32: 0x24,
  const64: 0x25,
  reg: 0x26,
  end: 0x27,
  zeroExt: 0x2a,
  swap: 0x2b,
  icount: 0xe0,
  brctr: 0xe1,
  hit: 0xe2,
  address: 0xe3,
  length: 0xe4,
  write: 0xe5,
  pc: 0xe6,
} as const;

export type AgentOpcode = keyof typeof agentOpcode;

/** What QEMU's plugin takes. */
export const longestCode = 2048;

/** Writes an agent expression, one operation after the other. */
export class Assembler {
  private readonly code: number[] = [];

  get length(): number {
    return this.code.length;
  }

  op(name: AgentOpcode): void {
    this.code.push(agentOpcode[name]);
  }

  /** Pushes a number, in the shortest way. */
  constant(value: bigint): void {
    const signed = BigInt.asIntN(64, value);
    const size = signed >= 0n ? sizeOfUnsigned(signed) : sizeOfSigned(signed);
    const name = `const${size}` as AgentOpcode;
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
    this.op("zeroExt");
    this.code.push(bits);
  }

  /** A jump whose target is not known yet: give what it returns to `land`. */
  jump(name: "goto" | "ifGoto"): number {
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
    return Uint8Array.from([...this.code, agentOpcode.end]);
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
