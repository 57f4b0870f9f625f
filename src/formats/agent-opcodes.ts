/**
 * GDB's agent expressions: bytecode for a stack of 64-bit values, in which GDB sends conditions. Definition: GDB manual,
 * appendix "The GDB Agent Expression Mechanism". Operands are big-endian. plugin/branches/agent.c evaluates them, and
 * test/formats/agent-evaluation.ts is the same in TypeScript.
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
