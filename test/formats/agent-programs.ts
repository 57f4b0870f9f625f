import fc from "fast-check";
import { type AgentOp, agentOps } from "../../src/formats/agent-opcodes.js";
import type { AgentMachine } from "./agent-evaluation.js";

/** The machine of agent-harness.c. */
export const machine: AgentMachine = {
  register: (number) => (number < 40 ? BigInt.asUintN(64, BigInt(number) * 0x9e3779b97f4a7c15n) : undefined),
  memory: (address, bytes) => {
    if (address < 0x1000n || address >= 0x100000n) return undefined;
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--)
      value = (value << 8n) | ((((address + BigInt(i)) * 37n) >> 3n) & 0xffn);
    return value;
  },
  special: (op) => (op === "brctr" ? undefined : BigInt(agentOps[op][0]) << 33n),
};

const names = Object.keys(agentOps) as AgentOp[];

/** Instructions that mostly make sense: constants often, and jumps that land in the expression. */
const instruction = fc.oneof(
  { weight: 4, arbitrary: fc.bigInt({ min: 0n, max: 0xffn }).map((value) => [0x22, Number(value)]) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(0n, 1n, 63n, 64n, 1n << 63n, ~0n, 0x2000n, 0xfffffn).map((value) => {
      const wide = BigInt.asUintN(64, value);
      return [0x25, ...Array.from({ length: 8 }, (_, i) => Number((wide >> BigInt(56 - 8 * i)) & 0xffn))];
    }),
  },
  {
    weight: 12,
    arbitrary: fc
      .tuple(fc.constantFrom(...names), fc.uint8Array({ minLength: 8, maxLength: 8 }))
      .map(([name, operand]) => {
        const [opcode, width] = agentOps[name];
        const bytes = [...operand.subarray(0, width)];
        if (name.endsWith("goto") || name === "reg") bytes[0] = 0;
        if (name.endsWith("ext") || name === "pick") bytes[0]! %= 70;
        return [opcode, ...bytes];
      }),
  },
);
/** Random programs. */
export const program = fc
  .array(instruction, { minLength: 1, maxLength: 40 })
  .map((parts) => Uint8Array.from([...parts.flat(), agentOps.end[0]]));
