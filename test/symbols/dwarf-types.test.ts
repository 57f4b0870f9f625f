import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { DwarfFile } from "../../src/symbols/dwarf/file.js";
import { typeAttribute, typeTag } from "../../src/symbols/dwarf/type-layout.js";
import { DwarfTypes } from "../../src/symbols/dwarf/types.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { type ExpressionContext, printExpression } from "../../src/symbols/expression/evaluator.js";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import { formatType } from "../../src/symbols/types/name.js";
import { Types } from "../../src/symbols/types/set.js";
import { at, dwarfElf, type Entry, form, makeDwarf } from "./dwarf-fixture.js";
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

describe("variables in namespaces and classes", () => {
  const int: Entry = {
    tag: typeTag.base,
    label: "int",
    attributes: [
      [at.name, form.string, "int"],
      [typeAttribute.encoding, form.data1, 5],
      [typeAttribute.byteSize, form.data1, 4],
    ],
  };
  const typed = [typeAttribute.type, form.ref4, "int"] as const;
  const declared = [typeAttribute.declaration, form.data1, 1] as const;
  const definition = (of: string, address: number): Entry => ({
    tag: typeTag.variable,
    attributes: [
      [at.specification, form.ref4, of],
      [typeAttribute.location, form.exprloc, Uint8Array.of(3, address, 0, 0, 0, 0, 0, 0, 0)],
    ],
  });
  /** A static member is a member up to DWARF 4, then a variable. */
  const unit = (memberTag: number): Entry => ({
    tag: 0x11,
    attributes: [[at.language, form.data1, 0x1a]],
    children: [
      int,
      {
        tag: typeTag.namespace,
        attributes: [[at.name, form.string, "shop"]],
        children: [
          {
            tag: typeTag.variable,
            label: "total",
            attributes: [[at.name, form.string, "total"], typed, declared],
          },
          {
            tag: typeTag.class,
            attributes: [
              [at.name, form.string, "Base"],
              [typeAttribute.byteSize, form.data1, 4],
            ],
            children: [
              {
                tag: memberTag,
                label: "made",
                attributes: [[at.name, form.string, "made"], typed, declared],
              },
              {
                tag: memberTag,
                attributes: [
                  [at.name, form.string, "limit"],
                  typed,
                  declared,
                  [typeAttribute.constValue, form.data1, 77],
                ],
              },
              { tag: typeTag.member, attributes: [[at.name, form.string, "own"], typed] },
            ],
          },
        ],
      },
      definition("total", 0x10),
      definition("made", 0x20),
    ],
  });

  it.each([
    ["DWARF 4", typeTag.member],
    ["DWARF 5", typeTag.variable],
  ])("are known by their whole names: %s", (_, tag) => {
    const source = syncBytes(dwarfElf(makeDwarf([{ root: unit(tag) }])));
    const found = new DwarfTypes(DwarfFile.open(ElfFile.open(source))!);
    expect(found.findVariable("shop::total")).toMatchObject({ address: 0x10n, constant: undefined });
    expect(found.findVariable("shop::Base::made")).toMatchObject({ address: 0x20n });
    expect(found.findVariable("shop::Base::limit")).toMatchObject({ address: undefined, constant: 77n });
    expect(found.findVariable("shop::Base::own")).toBeUndefined();
    expect(found.findVariable("total")).toBeUndefined();
  });
});
