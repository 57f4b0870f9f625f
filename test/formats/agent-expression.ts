import { VmtapeError } from "../../src/base/errors.js";
import { type AgentOp, agentLimits, agentOps } from "../../src/formats/agent-opcodes.js";

/** Agent expressions decoded, assembled and formatted as text, for tests and benches. */
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
 * @throws `usage` for an unknown opcode, an operand that is cut off, no bytes, or too many
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

/**
 * Throws as {@link decodeExpression} does. Targets of jumps and the stack are only checked when the expression is
 * evaluated.
 */
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

/** Builds an expression. */
export class ExpressionBuilder {
  private readonly code: number[] = [];

  /** The offset of the next instruction. */
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
