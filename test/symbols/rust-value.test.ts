import { describe, expect, it } from "vitest";
import {
  ArrayType,
  FunctionType,
  type IntType,
  type Member,
  PointerType,
  StructType,
  type Type,
  type Variants,
  voidType,
} from "../../src/symbols/types/type.js";
import { printValue } from "../../src/symbols/values/print.js";
import { presentVariant, rustTypeName } from "../../src/symbols/values/rust-value.js";
import { type Value, valueAt } from "../../src/symbols/values/value.js";

const int = (name: string, size: number, signed = false, style: IntType["style"] = "number"): IntType => ({
  kind: "int",
  name,
  size,
  signed,
  style,
});
const [u8, u16, i32, u64] = [int("u8", 1), int("u16", 2), int("i32", 4, true), int("u64", 8)];
const unit = int("()", 0);

type Field = readonly [name: string, type: Type, at: number];
const members = (fields: readonly Field[]): Member[] =>
  fields.map(([name, type, byteOffset]) => ({ name, type, byteOffset }));
const structure = (name: string, size: number, ...fields: Field[]) =>
  new StructType("struct", name, size, () => members(fields), true, { variants: () => undefined });
const enumeration = (
  name: string,
  size: number,
  discriminant: Field | undefined,
  ...list: (readonly [bigint | undefined, StructType])[]
) =>
  new StructType("struct", name, size, () => [], true, {
    variants: (): Variants => ({
      discriminant: discriminant && members([discriminant])[0],
      list: list.map(([value, type]) => ({ value, member: { name: type.name, type, byteOffset: 0 } })),
    }),
  });

const text = Buffer.from("caf\u00e9\0....");
const memory = {
  async read(address: bigint, length: number) {
    const from = Number(address) - 0x1000;
    return from < 0 || from + length > text.length
      ? undefined
      : new Uint8Array(text.subarray(from, from + length));
  },
};
const print = (type: Type, bytes: readonly number[], format?: "x") =>
  printValue({ ...valueAt(type, 0x5000n), bytes: Uint8Array.from(bytes) } as Value, {
    memory,
    isRust: true,
    ...(format && { format }),
  });
const word = (value: number) => [value & 255, (value >> 8) & 255, 0, 0, 0, 0, 0, 0];

/** As GDB 13 shows them without its pretty printers. */
describe("values of Rust", () => {
  it("are structures, tuples and units by their names", async () => {
    expect(await print(structure("p::Point", 2, ["x", u8, 0], ["y", u8, 1]), [79, 2])).toBe(
      "p::Point {x: 79, y: 2}",
    );
    expect(await print(structure("p::Pair", 2, ["__0", u8, 0], ["__1", u8, 1]), [1, 2])).toBe(
      "p::Pair (1, 2)",
    );
    expect(await print(structure("(u8, u8)", 2, ["__0", u8, 0], ["__1", u8, 1]), [1, 2])).toBe("(1, 2)");
    expect(await print(structure("p::Nothing", 0), [])).toBe("p::Nothing");
    expect(await print(structure("p::Holder", 0, ["nothing", unit, 0]), [])).toBe("p::Holder {nothing: ()}");
    expect(await print(structure("p::Holder", 0, ["nothing", unit, 0]), [], "x")).toBe(
      "p::Holder {nothing: ()}",
    );
    expect(await print(new ArrayType(3, () => u16), [1, 0, 2, 0, 3, 0])).toBe("[1, 2, 3]");
    expect(await print(new ArrayType(3, () => u8), [177, 177, 177])).toBe("[177, 177, 177]");
    expect(await print(int("char", 4, false, "char"), [120, 0, 0, 0])).toBe("120 'x'");
  });

  it("are slices and texts with what they hold", async () => {
    const slice = (name: string, element: Type) =>
      structure(name, 16, ["data_ptr", new PointerType(8, () => element), 0], ["length", u64, 8]);
    expect(await print(slice("&str", u8), [...word(0x1000), ...word(3)])).toBe('"caf"');
    expect(await print(slice("&str", u8), [...word(0x1000), ...word(0)])).toBe('""');
    expect(await print(slice("&str", u8), [...word(0x2000), ...word(3)])).toBe(
      "<error: Cannot access memory at address 0x2000>",
    );
    expect(await print(slice("&[u8]", u8), [...word(0x1000), ...word(2)])).toBe("&[u8] [99, 97]");
    expect(await print(slice("&mut [u8]", u8), [...word(0x1000), ...word(0)])).toBe("&mut [u8] []");
    // A damaged length ends, too.
    expect(
      await print(slice("&[u8]", u8), [...word(0x1000), 255, 255, 255, 255, 255, 255, 255, 255]),
    ).toContain("error");
  });

  const shape = enumeration(
    "p::Shape",
    8,
    ["tag", u8, 0],
    [0n, structure("p::Shape::Unit", 8)],
    [1n, structure("p::Shape::Rect", 8, ["__0", u8, 1], ["__1", i32, 4])],
    [255n, structure("p::Shape::Circle", 8, ["r", u8, 1])],
  );

  it("are the alternative that an enum holds", async () => {
    expect(await print(shape, [0, 9, 0, 0, 0, 0, 0, 0])).toBe("p::Shape::Unit");
    expect(await print(shape, [1, 9, 0, 0, 255, 255, 255, 255])).toBe("p::Shape::Rect(9, -1)");
    expect(await print(shape, [255, 9, 0, 0, 0, 0, 0, 0])).toBe("p::Shape::Circle{r: 9}");
    expect(await print(shape, [7, 9, 0, 0, 0, 0, 0, 0])).toBe(
      "<error: no variant of p::Shape has this value>",
    );
    const option = enumeration(
      "core::option::Option<&u8>",
      8,
      ["tag", u64, 0],
      [0n, structure("core::option::Option<&u8>::None", 8)],
      [undefined, structure("core::option::Option<&u8>::Some", 8, ["__0", new PointerType(8, () => u8), 0])],
    );
    expect(await print(option, word(0))).toBe("core::option::Option<&u8>::None");
    expect(await print(option, word(0x1000))).toBe("core::option::Option<&u8>::Some(0x1000)");
    const single = enumeration("p::One", 1, undefined, [
      undefined,
      structure("p::One::Only", 1, ["__0", u8, 0]),
    ]);
    expect(await print(single, [3])).toBe("p::One::Only(3)");
  });

  it("whose enums are negative are found by their bits", () => {
    const tag: Member = { name: "tag", type: int("i8", 1, true), byteOffset: 0 };
    const member: Member = { name: "Low", type: structure("Low", 1), byteOffset: 0 };
    const variants: Variants = { discriminant: tag, list: [{ value: 0xffn, member }] };
    expect(presentVariant(variants, Uint8Array.of(255))?.member).toBe(member);
    expect(presentVariant(variants, Uint8Array.of(1))).toBeUndefined();
    expect(presentVariant(variants, new Uint8Array())).toBeUndefined();
  });

  it("have pointers by Rust's names", async () => {
    const pointer = new PointerType(8, () => shape);
    expect(await print(pointer, word(0x1000))).toBe("(*mut p::Shape) 0x1000");
    expect(
      rustTypeName(
        new PointerType(
          8,
          () =>
            new FunctionType(
              () => voidType,
              () => [],
              false,
            ),
        ),
      ),
    ).toBe("*mut fn ()");
    expect(rustTypeName(new ArrayType(3, () => new PointerType(8, () => u8)))).toBe("[*mut u8; 3]");
    let endless: Type = u8;
    for (let i = 0; i < 100; i++) {
      const inner = endless;
      endless = new PointerType(8, () => inner);
    }
    expect(rustTypeName(endless)).toContain("...");
  });
});
