import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { type ExpressionContext, evaluateExpression } from "../../src/symbols/dwarf/expression.js";

const nothing: ExpressionContext = { register: () => undefined, memory: () => undefined };
const mask = (1n << 64n) - 1n;

const evaluate = (bytes: readonly number[], context = nothing, initial?: bigint) =>
  evaluateExpression(Uint8Array.from(bytes), context, initial);

const codeOf = (bytes: readonly number[]) => {
  try {
    return evaluate(bytes);
  } catch (error) {
    return error instanceof VmtapeError ? error.code : error;
  }
};

const u64 = (value: bigint) => Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));

describe("DWARF expressions", () => {
  it("do the arithmetic of 64 bits", () => {
    const signed = (value: bigint) => BigInt.asIntN(64, value);
    const truth = (is: boolean) => (is ? 1n : 0n);
    const operations: [code: number, slow: (a: bigint, b: bigint) => bigint | undefined][] = [
      [0x1a, (a, b) => a & b],
      [0x1b, (a, b) => (b === 0n ? undefined : signed(a) / signed(b))],
      [0x1c, (a, b) => a - b],
      [0x1d, (a, b) => (b === 0n ? undefined : a % b)],
      [0x1e, (a, b) => a * b],
      [0x21, (a, b) => a | b],
      [0x22, (a, b) => a + b],
      [0x24, (a, b) => (b > 63n ? 0n : a << b)],
      [0x25, (a, b) => (b > 63n ? 0n : a >> b)],
      [0x26, (a, b) => (b > 63n ? (signed(a) < 0n ? -1n : 0n) : signed(a) >> b)],
      [0x27, (a, b) => a ^ b],
      [0x29, (a, b) => truth(a === b)],
      [0x2a, (a, b) => truth(signed(a) >= signed(b))],
      [0x2b, (a, b) => truth(signed(a) > signed(b))],
      [0x2c, (a, b) => truth(signed(a) <= signed(b))],
      [0x2d, (a, b) => truth(signed(a) < signed(b))],
      [0x2e, (a, b) => truth(a !== b)],
    ];
    const word = fc.oneof(fc.bigInt({ min: 0n, max: mask }), fc.bigInt({ min: 0n, max: 70n }));
    fc.assert(
      fc.property(word, word, fc.constantFrom(...operations), (a, b, [code, slow]) => {
        const expected = slow(a, b);
        const bytes = [0x0e, ...u64(a), 0x0e, ...u64(b), code];
        if (expected === undefined) expect(codeOf(bytes)).toBe("bad-file");
        else expect(evaluate(bytes)).toBe(BigInt.asUintN(64, expected));
      }),
    );
  });

  it("move values on the stack", () => {
    const three = [0x31, 0x32, 0x33]; // 1, 2, 3
    const left = (bytes: number[]) => {
      const values = [];
      for (let drops = 0; drops < 3; drops++) {
        values.push(evaluate([...three, ...bytes, ...new Array(drops).fill(0x13)]));
      }
      return values;
    };
    expect(left([0x16])).toEqual([2n, 3n, 1n]); // swap
    expect(left([0x17])).toEqual([2n, 1n, 3n]); // rot
    expect(left([0x14])).toEqual([2n, 3n, 2n]); // over
    expect(left([0x12])).toEqual([3n, 3n, 2n]); // dup
    expect(left([0x15, 2])).toEqual([1n, 3n, 2n]); // pick
  });

  it("compute the frame of a lazily bound call, as linkers describe their stubs", () => {
    // CFA = rsp + 8 + ((rip & 15) >= 11 ? 8 : 0): binutils, elf_x86_64_lazy_plt_eh_frame
    const bytes = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    const at = (rip: bigint) =>
      evaluate(bytes, { ...nothing, register: (number) => (number === 7 ? 0x7000n : rip) });
    expect(at(0x401020n)).toBe(0x7008n);
    expect(at(0x40102an)).toBe(0x7008n);
    expect(at(0x40102bn)).toBe(0x7010n);
    expect(at(0x40102fn)).toBe(0x7010n);
  });

  it("read registers and memory, and say when they cannot", () => {
    const context: ExpressionContext = {
      register: (number) => (number === 3 ? 0x1000n : undefined),
      memory: (address, size) => (address === 0x1008n ? BigInt(size) : undefined),
    };
    expect(evaluate([0x73, 8, 0x06], context)).toBe(8n);
    expect(evaluate([0x73, 8, 0x94, 2], context)).toBe(2n);
    expect(evaluate([0x92, 3, 8, 0x06], context)).toBe(8n);
    expect(evaluate([0x73, 0x78, 0x06], context)).toBeUndefined();
    expect(evaluate([0x74, 0], context)).toBeUndefined();
    expect(evaluate([0x23, 0x10], context, 5n)).toBe(21n);
  });

  it("end, whatever they do", () => {
    expect(codeOf([0x2f, 0xfd, 0xff])).toBe("limit-exceeded"); // skip -3: for ever
    expect(codeOf([0x31, 0x12, 0x2f, 0xfc, 0xff])).toBe("limit-exceeded"); // push for ever
    expect(codeOf([0x2f, 0x7f, 0x7f])).toBe("bad-file"); // out of it
    expect(codeOf([0x22])).toBe("bad-file");
    expect(codeOf([])).toBe("bad-file");
    expect(codeOf([0x0e, 1])).toBe("bad-file");
    expect(codeOf([0xf3])).toBe("unsupported");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const result = codeOf([...bytes]);
        expect(["bigint", "undefined", "string"]).toContain(typeof result);
      }),
      { numRuns: 1000 },
    );
  });
});
