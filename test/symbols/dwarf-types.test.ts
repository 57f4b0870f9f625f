import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { DwarfFile } from "../../src/symbols/dwarf-file.js";
import { DwarfTypes } from "../../src/symbols/dwarf-types.js";
import { type ExpressionContext, printExpression } from "../../src/symbols/expression-evaluator.js";
import { parseExpression } from "../../src/symbols/expression-parser.js";
import { formatType } from "../../src/symbols/type-name.js";
import { Types } from "../../src/symbols/type-set.js";
import { golden, memory, nameOf, program, symbolsByName } from "./values-golden.js";

const dwarf = new DwarfTypes(DwarfFile.open(program)!);
const types = new Types(dwarf);
const context: ExpressionContext = {
  types,
  memory,
  nameOf,
  register: (name) => (golden.registers[name] ? BigInt(golden.registers[name]) : undefined),
  symbol(name) {
    const symbol = symbolsByName.get(name);
    return symbol && { address: BigInt(symbol.address) };
  },
};
const print = (text: string) => printExpression(parseExpression(text, types), context);

/** GDB adds no booleans, and shows no function with `/a`. */
const ours = /^yes \+ yes$|^\/a op_run$/;

describe("types from DWARF", () => {
  it.each(golden.prints.filter(([text]) => !ours.test(text)))("print %s", async (text, shown) => {
    if (!shown.startsWith("ERROR")) return expect(await print(text)).toBe(shown);
    const failure = await print(text).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(VmtapeError);
    return undefined;
  });

  it.each(Object.entries(golden.types))("whatis %s", (name, whatis) => {
    const type = types.findVariable(name)?.type ?? types.findFunction(name)!;
    expect(formatType(type)).toBe(whatis);
  });

  it("knows where variables are", () => {
    for (const { name, address } of golden.symbols) {
      const variable = types.findVariable(name);
      if (variable) expect(variable.address).toBe(BigInt(address));
    }
  });

  it("knows functions and enumerators", () => {
    expect(types.findFunction("plain_function")!.parameters.map(({ name }) => name)).toEqual([
      "n",
      "names",
      "compare",
    ]);
    expect(types.findEnumerator("N_MINUS")!.value).toBe(-1n);
    expect(types.findEnumerator("BIG_HUGE")!.value).toBe(0x1_0000_0000n);
    expect(types.findEnumerator("ANON_B")!.value).toBe(1n);
    expect(types.findStruct("nonesuch")).toBeUndefined();
  });
});
