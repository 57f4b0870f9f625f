import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { agentOps } from "../../src/formats/agent-opcodes.js";
import { type CompileContext, compileExpression } from "../../src/symbols/expression/compiler.js";
import { type ExpressionContext, evaluate } from "../../src/symbols/expression/evaluator.js";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import { readElfBtf } from "../../src/symbols/kernel/btf-find.js";
import { Types } from "../../src/symbols/types/set.js";
import { resolve } from "../../src/symbols/types/type.js";
import { loadValue, toInteger, valueAt } from "../../src/symbols/values/value.js";
import { golden, memory, program, symbolsByName } from "./values-golden.js";

const types = new Types(readElfBtf(program)!);
const numbers = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "rip"];
const symbol = (name: string) => {
  const found = symbolsByName.get(name);
  const type = golden.types[name];
  if (!found || !type || type.includes("{...}")) return undefined;
  return { address: BigInt(found.address), type: types.type(type) };
};
const registers: Record<string, bigint> = {};
for (const name of numbers) registers[name] = BigInt(golden.registers[name]!);

const context: ExpressionContext = { types, memory, symbol, register: (name) => registers[name] };
const compileContext: CompileContext = {
  types,
  symbol,
  register: (name) => (numbers.includes(name) ? numbers.indexOf(name) : undefined),
};
const counts: Readonly<Record<string, bigint>> = {
  icount: 6_000_000_000n,
  brctr: 1234n,
  hit: 3n,
  address: 0x4000n,
  length: 8n,
  write: 1n,
  pc: 0x401156n,
};
const nameOfOpcode = new Map(Object.entries(agentOps).map(([name, [code]]) => [code as number, name]));

/** An agent expression step by step, written from GDB's manual: 64-bit numbers kept unsigned. */
async function run(code: Uint8Array): Promise<bigint | undefined> {
  const stack: bigint[] = [];
  const u = (value: bigint) => BigInt.asUintN(64, value);
  const s = (value: bigint) => BigInt.asIntN(64, value);
  const push = (value: bigint) => stack.push(u(value));
  const pop = () => {
    const value = stack.pop();
    if (value === undefined) throw new Error("the stack is empty");
    return value;
  };
  let at = 0;
  const operand = (size: number) => {
    let value = 0n;
    for (let i = 0; i < size; i++) value = (value << 8n) | BigInt(code[at++]!);
    return value;
  };
  for (let steps = 0; steps < 4096; steps++) {
    const name = nameOfOpcode.get(code[at++]!);
    const binary = (result: (a: bigint, b: bigint) => bigint) => {
      const b = pop();
      const a = pop();
      push(result(a, b));
    };
    const shift = (result: (a: bigint, count: bigint) => bigint) =>
      binary((a, b) => result(a, b > 64n ? 64n : b));
    const read = async (size: number) => {
      const bytes = await memory.read(pop(), size);
      if (!bytes) return false;
      push([...bytes].reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n));
      return true;
    };
    switch (name) {
      case "end":
        if (stack.length !== 1) throw new Error(`${stack.length} values are left`);
        return pop();
      case "add":
        binary((a, b) => a + b);
        break;
      case "sub":
        binary((a, b) => a - b);
        break;
      case "mul":
        binary((a, b) => a * b);
        break;
      case "div_signed":
      case "div_unsigned":
      case "rem_signed":
      case "rem_unsigned": {
        const b = pop();
        const a = pop();
        if (b === 0n) return undefined;
        const [x, y] = name.endsWith("_unsigned") ? [a, b] : [s(a), s(b)];
        push(name.startsWith("div") ? x / y : x % y);
        break;
      }
      case "lsh":
        shift((a, b) => a << b);
        break;
      case "rsh_signed":
        shift((a, b) => s(a) >> b);
        break;
      case "rsh_unsigned":
        shift((a, b) => a >> b);
        break;
      case "log_not":
        push(pop() === 0n ? 1n : 0n);
        break;
      case "bit_and":
        binary((a, b) => a & b);
        break;
      case "bit_or":
        binary((a, b) => a | b);
        break;
      case "bit_xor":
        binary((a, b) => a ^ b);
        break;
      case "bit_not":
        push(~pop());
        break;
      case "equal":
        binary((a, b) => (a === b ? 1n : 0n));
        break;
      case "less_signed":
        binary((a, b) => (s(a) < s(b) ? 1n : 0n));
        break;
      case "less_unsigned":
        binary((a, b) => (a < b ? 1n : 0n));
        break;
      case "ext":
        push(BigInt.asIntN(Number(operand(1)), pop()));
        break;
      case "zero_ext":
        push(BigInt.asUintN(Number(operand(1)), pop()));
        break;
      case "ref8":
      case "ref16":
      case "ref32":
      case "ref64":
        if (!(await read(Number(name.slice(3)) / 8))) return undefined;
        break;
      case "const8":
      case "const16":
      case "const32":
      case "const64":
        push(operand(Number(name.slice(5)) / 8));
        break;
      case "if_goto": {
        const to = operand(2);
        if (pop() !== 0n) at = Number(to);
        break;
      }
      case "goto":
        at = Number(operand(2));
        break;
      case "reg":
        push(registers[numbers[Number(operand(2))]!]!);
        break;
      case "swap": {
        const b = pop();
        const a = pop();
        stack.push(b, a);
        break;
      }
      default:
        if (name === undefined || counts[name] === undefined) throw new Error(`opcode at ${at - 1}`);
        push(counts[name]!);
    }
  }
  throw new Error("too many steps");
}

/** What the evaluator gives, in 64 bits; undefined when it fails. */
async function evaluated(text: string): Promise<bigint | undefined> {
  try {
    const value = await evaluate(parseExpression(text, types), context);
    const plain = resolve(value.type);
    if ((plain.kind === "array" || plain.kind === "function") && value.address !== undefined)
      return value.address;
    return BigInt.asUintN(64, toInteger(value.type, await loadValue(value, memory)));
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}

describe("compiled expressions", () => {
  it.each(golden.prints.map(([text]) => text).filter((text) => !text.startsWith("/")))("%s", async (text) => {
    let code: Uint8Array | undefined;
    try {
      code = await compileExpression(parseExpression(text, types), compileContext);
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
      return; // not even an expression
    }
    if (code) expect(await run(code)).toBe(await evaluated(text));
  });

  it("are most of those that are whole numbers", async () => {
    let compiled = 0;
    let whole = 0;
    for (const [text, shown] of golden.prints) {
      if (!/^-?\d+$/.test(shown) || /anonymous|sizeof|deep/.test(text) || text.startsWith("/")) continue;
      whole++;
      if (await compileExpression(parseExpression(text, types), compileContext)) compiled++;
    }
    expect(whole).toBeGreaterThan(100);
    expect(compiled / whole).toBeGreaterThan(0.9);
  });

  it.each([
    "1.5",
    '"text"',
    "nodes[0]",
    "*node_pointer",
    "nonesuch",
    "$nonesuch",
    "nodes[0].nonesuch",
    "ratio + 1",
  ])("%s has no translation", async (text) => {
    expect(await compileExpression(parseExpression(text, types), compileContext)).toBeUndefined();
  });

  it("know the hit", async () => {
    const code = await compileExpression(
      parseExpression(
        "$icount > 5000000000 && $brctr == 1234 && $hit % 3 == 0 && $write && $length == 8",
        types,
      ),
      compileContext,
    );
    expect((await run(code!))!).toBe(1n);
  });

  it("take special names for places or constants", async () => {
    const node = types.struct("node");
    const special: CompileContext = {
      ...compileContext,
      special: (name) =>
        name === "first" ? valueAt(node, BigInt(symbolsByName.get("nodes")!.address)) : undefined,
    };
    const code = await compileExpression(parseExpression("first.comm[0] == 'k'", types), special);
    expect((await run(code!))!).toBe(1n);
  });

  it("say nothing of more than a machine can hold", async () => {
    const long = Array.from({ length: 60 }, () => "$rax * 123456789012345678").join(" + ");
    const code = await compileExpression(parseExpression(long, types), compileContext);
    const product = BigInt.asUintN(64, registers.rax! * 123456789012345678n);
    expect(BigInt.asUintN(64, (await run(code!))!)).toBe(BigInt.asUintN(64, product * 60n));
    const longer = Array.from({ length: 120 }, () => "nodes[0].list.next->next->prev->next").join(" == ");
    expect(await compileExpression(parseExpression(longer, types), compileContext)).toBeUndefined();
  });

  it("agree with the evaluator on random arithmetic", async () => {
    const leaf = fc.oneof(
      fc.constantFrom("$rax", "$edi", "$ax", "$bl", "$ch", "$rsp", "$icount"),
      fc.constantFrom(
        "ints[2]",
        "longs[1]",
        "shorts[0]",
        "uchar_high",
        "char_high",
        "us",
        "u32max",
        "u64max",
      ),
      fc.constantFrom("bits[1].c", "bits[1].d", "bits[0].g", "bits[2].f", "yes", "n_minus", "BLUE", "lmin"),
      fc.constantFrom(
        "nodes[1].small[1]",
        "node_pointer->color",
        "int_pointer",
        "&ints[1]",
        "int_pointer[1]",
      ),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String),
      fc.nat(40).map(String),
      fc.constantFrom("0x80000000", "2147483648u", "-1", "'a'", "*(short *)longs", "(unsigned char)ints[4]"),
    );
    const { expression } = fc.letrec<{ expression: string }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        leaf,
        fc
          .tuple(
            tie("expression"),
            fc.constantFrom(..."+ - * / % & | ^ << >> < <= > >= == != && ||".split(" ")),
            tie("expression"),
          )
          .map(([a, operator, b]) => `(${a} ${operator} ${b})`),
        fc.tuple(fc.constantFrom("-", "~", "!", "+"), tie("expression")).map(([sign, a]) => `(${sign} ${a})`),
        fc
          .tuple(
            fc.constantFrom("char", "unsigned char", "short", "int", "unsigned", "long", "u64"),
            tie("expression"),
          )
          .map(([type, a]) => `((${type})${a})`),
        fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => `(${a} ? ${b} : 3 + ${b})`),
      ),
    }));
    let compiled = 0;
    await fc.assert(
      fc.asyncProperty(expression, async (text) => {
        const code = await compileExpression(parseExpression(text, types), compileContext);
        if (!code) return;
        compiled++;
        // The evaluator has no hit, so its icount is given by a name.
        const withCount = text.replaceAll("$icount", "6000000000u");
        expect(await run(code)).toBe(await evaluated(withCount));
      }),
      { numRuns: 2000 },
    );
    expect(compiled).toBeGreaterThan(1000);
  });
});
