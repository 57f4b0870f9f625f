import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { agentLimits } from "../../src/formats/agent-opcodes.js";
import { evaluateExpression } from "./agent-evaluation.js";
import {
  assembleExpression,
  decodeExpression,
  ExpressionBuilder,
  formatExpression,
  validateExpression,
} from "./agent-expression.js";
import { machine, program } from "./agent-programs.js";

const evaluate = (text: string) => evaluateExpression(assembleExpression(text), machine);
describe("agent expressions", () => {
  test("endless loops end", () => {
    expect(evaluate("const 1; goto 0; end")).toBeUndefined();
    expect(evaluate("goto 0; end")).toBeUndefined();
  });

  test("what GDB sends for ($rdi & 0xff) == 3 && *(int *)$rsp != -2", () => {
    // GDB 13: maint agent-eval.
    const bytes = Buffer.from(
      "260005164023 00ff 0f 2203 13 200012 21002b 260007 2a40 19 1620 22fe 1608 13 0e 200026 21002b 2201 21002d 2200 27".replaceAll(
        " ",
        "",
      ),

      "hex",
    );
    const at = (rdi: bigint, top: bigint) =>
      evaluateExpression(bytes, {
        register: (number) => (number === 5 ? rdi : number === 7 ? 0x5000n : undefined),
        memory: (address, size) => (address === 0x5000n && size === 4 ? top : undefined),
      });
    expect(at(0x1203n, 7n)).toBe(1n);
    expect(at(0x1203n, 0xfffffffen)).toBe(0n);
    expect(at(0x1204n, 7n)).toBe(0n);
    expect(formatExpression(bytes)).toMatch(/^reg 5; ext 64; const16 255; bit_and; .* const8 0; end$/);
  });

  test.each([
    ["const -1; const 1; add; end", 0n],
    ["const 7; const 3; sub; end", 4n],
    ["const 1; const 2; const 3; rot; end", 2n],
    ["const 1; const 2; swap; end", 1n],
    ["const 5; const 6; pick 1; end", 5n],
    ["const -8; const 1; rsh_signed; end", BigInt.asUintN(64, -4n)],
    ["const 1; const 64; lsh; end", 0n],
    ["const64 0x8000000000000000; const -1; div_signed; end", 1n << 63n],
    ["const 1; const 0; div_unsigned; end", undefined],
    ["const 128; ext 8; end", BigInt.asUintN(64, -128n)],
    ["const -1; zero_ext 16; end", 0xffffn],
    ["const 16; ref8; end", undefined],
    ["reg 99; end", undefined],
    ["add; end", undefined],
    ["const 1", undefined],
    ["icount; end", 0xe0n << 33n],
  ])("%s", (text, value) => {
    expect(evaluate(text)).toBe(value);
  });

  test("text and bytes are the same thing", () => {
    fc.assert(
      fc.property(program, (bytes) => {
        const text = formatExpression(bytes);
        expect(assembleExpression(text)).toEqual(bytes);
        expect(decodeExpression(bytes).map(({ op }) => op)).toHaveLength(text.split(";").length);
      }),
    );
  });

  test("constants are as short as can be", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }), (value) => {
        const bytes = new ExpressionBuilder().constant(value).op("end").bytes();
        expect(evaluateExpression(bytes, machine)).toBe(BigInt.asUintN(64, value));
        expect(bytes.length).toBeLessThanOrEqual(10);
      }),
    );
    expect(new ExpressionBuilder().constant(-1).op("end").bytes()).toHaveLength(5);
  });

  test("a jump that is set later", () => {
    const builder = new ExpressionBuilder().op("reg", 1);
    const here = builder.jump("if_goto");
    builder.constant(5).op("end");
    here();
    expect(evaluateExpression(builder.constant(9).op("end").bytes(), machine)).toBe(9n);
  });

  test.each([
    ["0 bytes", Uint8Array.of()],
    ["ends in the middle of const8", Uint8Array.of(0x22)],
    ["opcode 1 at byte 0", Uint8Array.of(0x01)],
    ["2049 bytes", new Uint8Array(agentLimits.bytes + 1).fill(0x28)],
  ])("refuses: %s", (words, bytes) => {
    expect(() => validateExpression(bytes)).toThrow(words);
  });

  test.each(["const", "reg 1 2", "reg x", "fly", "const8 256", "end 1", "reg -1"])("refuses '%s'", (text) => {
    expect(() => assembleExpression(`${text}; end`)).toThrow("agent expression");
  });
});
