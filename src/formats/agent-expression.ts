import { VmtapeError } from "../base/errors.js";

/**
 * GDB's agent expressions: bytecode for a stack of 64-bit values, in which GDB sends conditions. Definition: GDB manual,
 * appendix "The GDB Agent Expression Mechanism". Operands are big-endian. plugin/agent.h is the same in C.
 *
 * Where the manual leaves it open: registers and memory are zero-extended; shifts by 64 and more give 0 or the sign;
 * INT64_MIN / -1 wraps; extending from 64 bits and more changes nothing, from 0 bits fails. Floating point, trace
 * collection and trace variables are refused.
 */

/** Opcodes by name, each with the bytes of its operand. Those from `icount` on are our own. */
export const agentOps = {
  add: [0x02, 0],
  sub: [0x03, 0],
  mul: [0x04, 0],
  div_signed: [0x05, 0],
  div_unsigned: [0x06, 0],
  rem_signed: [0x07, 0],
  rem_unsigned: [0x08, 0],
  lsh: [0x09, 0],
  rsh_signed: [0x0a, 0],
  rsh_unsigned: [0x0b, 0],
  log_not: [0x0e, 0],
  bit_and: [0x0f, 0],
  bit_or: [0x10, 0],
  bit_xor: [0x11, 0],
  bit_not: [0x12, 0],
  equal: [0x13, 0],
  less_signed: [0x14, 0],
  less_unsigned: [0x15, 0],
  ext: [0x16, 1],
  ref8: [0x17, 0],
  ref16: [0x18, 0],
  ref32: [0x19, 0],
  ref64: [0x1a, 0],
  if_goto: [0x20, 2],
  goto: [0x21, 2],
  const8: [0x22, 1],
  const16: [0x23, 2],
  const32: [0x24, 4],
  const64: [0x25, 8],
  reg: [0x26, 2],
  end: [0x27, 0],
  dup: [0x28, 0],
  pop: [0x29, 0],
  zero_ext: [0x2a, 1],
  swap: [0x2b, 0],
  pick: [0x32, 1],
  rot: [0x33, 0],
  /** Instructions before this instant. */
  icount: [0xe0, 0],
  /** Branches before it; fails when they are not followed. */
  brctr: [0xe1, 0],
  /** How often this probe was met in this run, this time included. */
  hit: [0xe2, 0],
  /** Of the access: address, bytes, 1 for a write and 0 for a read. Fail without an access. */
  address: [0xe3, 0],
  length: [0xe4, 0],
  write: [0xe5, 0],
  /** Linear address of the instruction. */
  pc: [0xe6, 0],
} as const satisfies Readonly<Record<string, readonly [opcode: number, operandBytes: number]>>;

export type AgentOp = keyof typeof agentOps;

/** Bounds that an evaluation keeps to. */
export const agentLimits = { steps: 4096, stack: 64, bytes: 2048 } as const;

export interface AgentInstruction {
  /** Bytes from the start of the expression; jumps go to such offsets. */
  readonly offset: number;
  readonly op: AgentOp;
  /** Unsigned; undefined for an opcode without one. */
  readonly operand: bigint | undefined;
}

/** The operation of an opcode. */
export const agentOpOf: ReadonlyMap<number, AgentOp> = new Map(
  (Object.keys(agentOps) as AgentOp[]).map((op) => [agentOps[op][0], op]),
);

/**
 * The instructions of an expression, in order.
 *
 * @throws `usage` for an opcode that is not known here, an operand that is cut off, or no or too many bytes
 */
export function decodeExpression(bytes: Uint8Array): AgentInstruction[] {
  if (bytes.length === 0 || bytes.length > agentLimits.bytes) {
    throw bad(`has ${bytes.length} bytes: 1 to ${agentLimits.bytes} are possible`);
  }
  const instructions: AgentInstruction[] = [];
  for (let at = 0; at < bytes.length; ) {
    const offset = at;
    const op = agentOpOf.get(bytes[at++]!);
    if (op === undefined)
      throw bad(`has the opcode ${bytes[offset]} at byte ${offset}, which is not supported`);
    const width = agentOps[op][1];
    if (bytes.length - at < width) throw bad(`ends in the middle of ${op}`);
    instructions.push({ offset, op, operand: width === 0 ? undefined : operandAt(bytes, at, width) });
    at += width;
  }
  return instructions;
}

/** Throws as {@link decodeExpression} does. Where jumps lead, and what the stack holds, is seen only by evaluating. */
export function validateExpression(bytes: Uint8Array): void {
  decodeExpression(bytes);
}

/** An expression as text that {@link assembleExpression} reads: `reg 5; const8 10; equal; end`. */
export function formatExpression(bytes: Uint8Array): string {
  return decodeExpression(bytes)
    .map(({ op, operand }) => (operand === undefined ? op : `${op} ${operand}`))
    .join("; ");
}

/**
 * Bytecode of instructions separated by `;` or line ends. `const VALUE` picks the shortest constant, negative ones
 * included; jumps name byte offsets.
 *
 * @throws `usage` for anything else
 */
export function assembleExpression(text: string): Uint8Array {
  const builder = new ExpressionBuilder();
  for (const line of text.split(/[;\n]/)) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" && words.length === 1) continue;
    const [name = "", operand] = words;
    if (words.length > 2 || (operand !== undefined && !/^-?(0x[0-9a-f]+|\d+)$/i.test(operand))) {
      throw bad(`has the line '${line.trim()}'`);
    }
    const value = operand === undefined ? undefined : numberOf(operand);
    if (name === "const" && value !== undefined) builder.constant(value);
    else if (Object.hasOwn(agentOps, name)) builder.op(name as AgentOp, value);
    else throw bad(`has the line '${line.trim()}'`);
  }
  return builder.bytes();
}

function numberOf(text: string): bigint {
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
}

/** Puts an expression together. */
export class ExpressionBuilder {
  private readonly code: number[] = [];

  /** Bytes so far: where the next instruction will be. */
  get offset(): number {
    return this.code.length;
  }

  /** @throws `usage` when the operand does not fit */
  op(op: AgentOp, operand?: bigint | number): this {
    const [opcode, width] = agentOps[op];
    if ((operand === undefined) !== (width === 0)) throw bad(`has ${op} with a wrong operand`);
    this.code.push(opcode);
    if (operand !== undefined) this.code.push(...bytesOf(BigInt(operand), width, op));
    return this;
  }

  /** The shortest instructions that push the low 64 bits of `value`. */
  constant(value: bigint | number): this {
    const wide = BigInt.asUintN(64, BigInt(value));
    const negative = BigInt.asIntN(64, wide);
    for (const [op, width] of [
      ["const8", 8],
      ["const16", 16],
      ["const32", 32],
    ] as const) {
      if (wide < 1n << BigInt(width)) return this.op(op, wide);
      if (negative < 0n && negative >= -(1n << BigInt(width - 1))) {
        return this.op(op, BigInt.asUintN(width, negative)).op("ext", width);
      }
    }
    return this.op("const64", wide);
  }

  /** Adds a jump whose target is not known yet; the returned function sets it to where the code then ends. */
  jump(op: "goto" | "if_goto"): () => void {
    this.op(op, 0);
    const operand = this.code.length - 2;
    return () => {
      [this.code[operand], this.code[operand + 1]] = bytesOf(BigInt(this.offset), 2, op) as [number, number];
    };
  }

  /** @throws `usage` when it is empty or too long */
  bytes(): Uint8Array {
    const bytes = Uint8Array.from(this.code);
    validateExpression(bytes);
    return bytes;
  }
}

/** A big-endian operand; 0 when `width` is 0. */
export function operandAt(bytes: Uint8Array, at: number, width: number): bigint {
  let value = 0n;
  for (let i = 0; i < width; i++) value = (value << 8n) | BigInt(bytes[at + i]!);
  return value;
}

function bytesOf(value: bigint, width: number, op: AgentOp): number[] {
  if (value < 0n || value >= 1n << BigInt(8 * width)) throw bad(`has ${op} with a wrong operand`);
  return Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * (width - 1 - i))) & 0xffn));
}

function bad(what: string): VmtapeError {
  return new VmtapeError("usage", `the agent expression ${what}`);
}
