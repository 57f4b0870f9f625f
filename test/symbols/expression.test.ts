import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isVmtapeError, VmtapeError } from "../../src/base/errors.js";
import {
  type ExpressionContext,
  evaluate,
  evaluateTruth,
  printExpression,
} from "../../src/symbols/expression/evaluator.js";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import { readElfBtf } from "../../src/symbols/kernel/btf-find.js";
import { Types } from "../../src/symbols/types/set.js";
import type { Type } from "../../src/symbols/types/type.js";
import { toInteger } from "../../src/symbols/values/value.js";
import { golden, memory, nameOf, program, symbolsByName } from "./values-golden.js";

const types = new Types(readElfBtf(program)!);
const typesByName = new Map<string, Type>();
for (const [name, text] of Object.entries(golden.types)) {
  // BTF of a program has no variables, and GDB's text for a type without a tag names no type.
  if (!text.includes("{...}")) typesByName.set(name, types.type(text));
}
const context: ExpressionContext = {
  types,
  memory,
  nameOf,
  register: (name) => (golden.registers[name] ? BigInt(golden.registers[name]) : undefined),
  symbol(name) {
    const symbol = symbolsByName.get(name);
    return symbol && { address: BigInt(symbol.address), type: typesByName.get(name) };
  },
};
const print = (text: string) => printExpression(parseExpression(text, types), context);

/** Where BTF says less than DWARF: it flattens arrays of arrays, and these variables' types have no name. */
const beyondBtf = /\bdeep\b(?!\.a\.)|anonymous_|^yes \+ yes$|^\/a op_run$/;

describe("values as GDB prints them", () => {
  const cases = golden.prints.filter(([text]) => !beyondBtf.test(text));

  it("has enough to compare", () => expect(cases.length).toBeGreaterThan(500));

  it.each(cases)("%s", async (text, shown) => {
    if (!shown.startsWith("ERROR")) return expect(await print(text)).toBe(shown);
    const failure = await print(text).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(VmtapeError);
    return undefined;
  });
});

describe("errors say what and where", () => {
  it.each([
    ["", "expected a value, got the end, at column 1 of ''"],
    ["1 +", "expected a value, got the end, at column 4 of '1 +'"],
    ["(1", "expected ')', got the end, at column 3 of '(1'"],
    ["1 2", "expected an operator or the end, got '2', at column 3 of '1 2'"],
    ["a ` b", "'`' is in no expression, at column 3 of 'a ` b'"],
    ["0x", "'0x' is no number, at column 1 of '0x'"],
    ["08", "'08' is octal, and has an 8 or 9, at column 1 of '08'"],
    [
      "0x10000000000000000",
      "0x10000000000000000 has more than 64 bits, at column 1 of '0x10000000000000000'",
    ],
    ["'ab'", "a character is not closed by another ', at column 1 of ''ab''"],
    ['"ab', "a string is not closed by another \", at column 1 of '\"ab'"],
    ["(struct nonesuch *)0", "no struct 'nonesuch' is known, at column 2 of '(struct nonesuch *)0'"],
    ["main(1)", "functions cannot be called in a recording, at column 5 of 'main(1)'"],
    ["ints[0] = 3", "a recording cannot be changed, at column 9 of 'ints[0] = 3'"],
    ["/q 1", "'/q' is no format: there are x, d, u, o, t, c, a, z, s, at column 1 of '1'"],
    ["$", "'$' without the name of a register, at column 1 of '$'"],
    ["nonesuch", "no 'nonesuch' is known, at column 1 of 'nonesuch'"],
    ["1 + $nonesuch", "no register $nonesuch is known here, at column 5 of '1 + $nonesuch'"],
    ["nodes[0].nonesuch", "struct node has no member 'nonesuch', at column 10 of 'nodes[0].nonesuch'"],
    [
      "nodes[0].colour",
      "struct node has no member 'colour', at column 10 of 'nodes[0].colour'; it has color",
    ],
    ["ints.next", "a value of type int [10] has no members, at column 6 of 'ints.next'"],
    ["*vptr", "a pointer to void leads to no value: cast it to what is there, at column 1 of '*vptr'"],
    ["nodes[0] + 1", "a value of type struct node is no number, at column 6 of 'nodes[0] + 1'"],
    ["1 / 0", "Division by zero, at column 3 of '1 / 0'"],
    ["&1", "the value is not in memory and has no address, at column 1 of '&1'"],
    ["&bits[0].a", "a bit field has no address, at column 1 of '&bits[0].a'"],
    ["*(int *)0x10", "Cannot access memory at address 0x10, at column 1 of '*(int *)0x10'"],
    [
      "((struct node *)8)->self->self",
      "Cannot access memory at address 0x50, at column 21 of '((struct node *)8)->self->self'",
    ],
    ["5[ints]", "a value of type int has no elements, at column 2 of '5[ints]'"],
    ["1.5 % 2", "'%' is not for floating-point numbers, at column 5 of '1.5 % 2'"],
    ["(struct node)1", "a value of type int cannot become a struct node, at column 1 of '(struct node)1'"],
    ["ints@0", "there cannot be 0 of them, at column 6 of 'ints@0'"],
    ["1@2", "only values in memory can be extended with '@', at column 2 of '1@2'"],
  ])("%s", async (text, message) => {
    const failure = await (async () => print(text))().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(VmtapeError);
    expect((failure as VmtapeError).message).toBe(message);
    expect((failure as VmtapeError).facts).toHaveProperty("column");
  });

  it("names the page that is missing, not the start of the value", async () => {
    const last = 0x404ff0n;
    const bytes = new Uint8Array(16);
    const torn = {
      ...context,
      memory: {
        read: async (at: bigint, length: number) =>
          at >= last && at + BigInt(length) <= last + 16n ? bytes.slice(0, length) : undefined,
      },
    };
    const failure = await printExpression(parseExpression("*(struct node *)0x404ff0", types), torn).catch(
      (error: unknown) => error,
    );
    expect(isVmtapeError(failure, "not-mapped") && failure.facts.address).toBe(0x405000n);
  });

  it("refuses what is nested to harm", async () => {
    for (const text of [
      "(".repeat(20000),
      "-".repeat(5000),
      `1${"+(1".repeat(500)}`,
      `a${"[1]".repeat(5000)}`,
    ]) {
      expect(() => parseExpression(text, types)).toThrow(VmtapeError);
    }
  });
});

describe("comparisons", () => {
  it("give true and false where the language has them", async () => {
    for (const [text, shown] of [
      ["1 < 2", "true"],
      ["1 == 2", "false"],
      ["!3", "false"],
      ["1 && ints", "true"],
      ["(1 < 2) + 1", "2"],
      ["3 | 4", "7"],
    ] as const) {
      expect(await printExpression(parseExpression(text, types), { ...context, hasBool: true })).toBe(shown);
    }
  });
});

describe("special names", () => {
  const withSpecials: ExpressionContext = {
    ...context,
    special: (name) =>
      name === "$icount"
        ? { type: types.type("unsigned long"), bytes: Uint8Array.of(42, 0, 0, 0, 0, 0, 0, 0) }
        : name === "gone"
          ? { type: types.type("int"), missing: "optimized out" }
          : undefined,
  };

  it("stand before symbols and registers", async () => {
    expect(await printExpression(parseExpression("$icount * 2", types), withSpecials)).toBe("84");
    expect(await evaluateTruth(parseExpression("$icount == 42", types), withSpecials)).toBe(true);
  });

  it("may have no value", async () => {
    expect(await printExpression(parseExpression("gone", types), withSpecials)).toBe("<optimized out>");
    await expect(evaluate(parseExpression("gone + 1", types), withSpecials)).rejects.toThrow(/optimized out/);
  });
});

/** Arithmetic of C's int and long on operands of 64 bits, compared with a slow and simple version. */
describe("arithmetic", () => {
  const operators = ["+", "-", "*", "&", "|", "^", "<", "<=", "==", "!="] as const;
  const obvious = (operator: string, a: bigint, b: bigint): bigint => {
    switch (operator) {
      case "+":
        return BigInt.asIntN(64, a + b);
      case "-":
        return BigInt.asIntN(64, a - b);
      case "*":
        return BigInt.asIntN(64, a * b);
      case "&":
        return a & b;
      case "|":
        return a | b;
      case "^":
        return a ^ b;
      case "<":
        return a < b ? 1n : 0n;
      case "<=":
        return a <= b ? 1n : 0n;
      case "==":
        return a === b ? 1n : 0n;
      default:
        return a !== b ? 1n : 0n;
    }
  };

  it("is that of long", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
        fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
        fc.constantFrom(...operators),
        async (a, b, operator) => {
          const values: Record<string, bigint> = { rax: BigInt.asUintN(64, a), rbx: BigInt.asUintN(64, b) };
          const registers: ExpressionContext = { ...context, register: (name) => values[name] };
          const value = await evaluate(parseExpression(`$rax ${operator} $rbx`, types), registers);
          expect(toInteger(value.type, value.bytes!)).toBe(obvious(operator, a, b));
        },
      ),
    );
  });
});

describe("text from anywhere", () => {
  it("gives an expression or an error", () => {
    const piece = fc.constantFrom(
      ..."( ) [ ] { } . -> * & + - ! ~ / % << >> < > == && || ? : @ , nodes ints struct node unsigned long const sizeof $rdi 0x10 1 'a' \"s\" 1.5 int char".split(
        " ",
      ),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece, { maxLength: 12 }).map((all) => all.join(" ")),
        ),
        (text) => {
          try {
            parseExpression(text, types);
          } catch (error) {
            if (!(error instanceof VmtapeError)) throw error;
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
