import { type AgentOp, agentLimits, agentOps } from "../../src/formats/agent-opcodes.js";
import { agentOpOf, operandAt } from "./agent-expression.js";

/** The machine that an expression reads. Values are unsigned; undefined makes the expression fail. */
export interface AgentMachine {
  register(number: number): bigint | undefined;
  /** `bytes` is 1, 2, 4 or 8; little-endian. */
  memory(address: bigint, bytes: number): bigint | undefined;
  special?(op: "icount" | "brctr" | "hit" | "address" | "length" | "write" | "pc"): bigint | undefined;
}

/** The unsigned value of an expression; undefined when it fails. It is slow, and follows the definition literally. */
export function evaluateExpression(bytes: Uint8Array, machine: AgentMachine): bigint | undefined {
  const stack: bigint[] = [];
  let at = 0;
  for (let steps = 0; steps < agentLimits.steps && at < bytes.length; steps++) {
    const op = agentOpOf.get(bytes[at++]!);
    if (op === undefined || bytes.length - at < agentOps[op][1]) return undefined;
    const operand = operandAt(bytes, at, agentOps[op][1]);
    at += agentOps[op][1];
    if (op === "end") return stack.at(-1);
    if (op === "goto") at = Number(operand);
    else if (op === "if_goto") {
      const condition = stack.pop();
      if (condition === undefined) return undefined;
      if (condition !== 0n) at = Number(operand);
    } else if (!execute(op, operand, stack, machine)) return undefined;
  }
  return undefined;
}

/** Executes an opcode, except for jumps and the end. False when it fails. */
function execute(op: AgentOp, operand: bigint, stack: bigint[], machine: AgentMachine): boolean {
  const taken = operandsTaken(op);
  if (stack.length < taken) return false;
  const values = stack.splice(stack.length - taken, taken);
  const results = resultsOf(op, operand, values, stack, machine);
  if (results.includes(undefined)) return false;
  stack.push(...results.map((value) => BigInt.asUintN(64, value!)));
  return stack.length <= agentLimits.stack;
}

function operandsTaken(op: AgentOp): number {
  if (op === "rot") return 3;
  const [opcode] = agentOps[op];
  if (op === "swap" || opcode <= 0x0b || (opcode >= 0x0f && opcode <= 0x15 && op !== "bit_not")) return 2;
  return opcode <= 0x1a || op === "pop" || op === "zero_ext" ? 1 : 0;
}

function resultsOf(
  op: AgentOp,
  operand: bigint,
  [a = 0n, b = 0n, c = 0n]: readonly bigint[],
  stack: readonly bigint[],
  machine: AgentMachine,
): (bigint | undefined)[] {
  const signed = (value: bigint) => BigInt.asIntN(64, value);
  switch (op) {
    case "add":
      return [a + b];
    case "sub":
      return [a - b];
    case "mul":
      return [a * b];
    case "div_signed":
      return [b === 0n ? undefined : signed(a) / signed(b)];
    case "div_unsigned":
      return [b === 0n ? undefined : a / b];
    case "rem_signed":
      return [b === 0n ? undefined : signed(a) % signed(b)];
    case "rem_unsigned":
      return [b === 0n ? undefined : a % b];
    case "lsh":
      return [b < 64n ? a << b : 0n];
    case "rsh_signed":
      return [signed(a) >> (b < 64n ? b : 63n)];
    case "rsh_unsigned":
      return [b < 64n ? a >> b : 0n];
    case "log_not":
      return [a === 0n ? 1n : 0n];
    case "bit_and":
      return [a & b];
    case "bit_or":
      return [a | b];
    case "bit_xor":
      return [a ^ b];
    case "bit_not":
      return [~a];
    case "equal":
      return [a === b ? 1n : 0n];
    case "less_signed":
      return [signed(a) < signed(b) ? 1n : 0n];
    case "less_unsigned":
      return [a < b ? 1n : 0n];
    case "ext":
      return [operand === 0n ? undefined : BigInt.asIntN(Math.min(Number(operand), 64), a)];
    case "zero_ext":
      return [operand === 0n ? undefined : BigInt.asUintN(Math.min(Number(operand), 64), a)];
    case "ref8":
    case "ref16":
    case "ref32":
    case "ref64":
      return [machine.memory(a, Number(op.slice(3)) / 8)];
    case "reg":
      return [machine.register(Number(operand))];
    case "dup":
      return [stack.at(-1)];
    case "pick":
      return [stack.at(-1 - Number(operand))];
    case "pop":
      return [];
    case "swap":
      return [b, a];
    case "rot":
      return [c, a, b];
    case "const8":
    case "const16":
    case "const32":
    case "const64":
      return [operand];
    case "end":
    case "goto":
    case "if_goto":
      return [];
    default:
      return [machine.special?.(op)];
  }
}
