import { describe, expect, it } from "vitest";
import { formatType } from "../../src/symbols/types/name.js";
import { templateName } from "../../src/symbols/types/template-name.js";
import {
  ArrayType,
  EnumType,
  FunctionType,
  type IntType,
  PointerType,
  QualifiedType,
  StructType,
  type Type,
  voidType,
} from "../../src/symbols/types/type.js";
import { printValue } from "../../src/symbols/values/print.js";
import { valueAt } from "../../src/symbols/values/value.js";

/** What GDB 13 made of names that GCC 12 wrote. */
const names = [
  ["plain", "plain"],
  ["Ring<short int, 5>", "Ring<short, 5>"],
  ["std::vector<long int, std::allocator<long int> >", "std::vector<long, std::allocator<long> >"],
  ["std::map<long unsigned int, long long unsigned int>", "std::map<unsigned long, unsigned long long>"],
  [
    "std::allocator<std::pair<const K, std::unique_ptr<V> > >",
    "std::allocator<std::pair<K const, std::unique_ptr<V> > >",
  ],
  ["iterator<const long int*, std::vector<long int> >", "iterator<long const*, std::vector<long> >"],
  ["pair<const T<const char*>, int>", "pair<T<char const*> const, int>"],
  ["std::function<int(int)>", "std::function<int(int)>"],
  [
    "std::_Head_base<1, std::default_delete<shop::Item>, true>",
    "std::_Head_base<1, std::default_delete<shop::Item>, true>",
  ],
  ["Holder<(&flag)>::Inner<long int>", "Holder<(&flag)>::Inner<long>"],
  ["alloc::vec::Vec<*const u8, alloc::alloc::Global>", "alloc::vec::Vec<*const u8, alloc::alloc::Global>"],
  // Damaged ones stay as they are.
  ["broken<long int", "broken<long int"],
  ["operator<<long int>", "operator<<long int>"],
] as const;

describe("names of C++ types", () => {
  it.each(names)("%s", (name, wanted) => {
    expect(templateName(name)).toBe(wanted);
  });

  it("end, whatever they are", () => {
    expect(templateName("<".repeat(5000))).toBe("<".repeat(5000));
    const deep = `${"a<".repeat(2000)}long int${">".repeat(2000)}`;
    expect(templateName(deep).length).toBeGreaterThan(4000);
  });
});

describe("values of C++", () => {
  const int: IntType = { kind: "int", name: "int", size: 4, signed: true, style: "number" };
  const bytes = Uint8Array.of(7, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0);
  const memory = {
    read: async (address: bigint, length: number) =>
      address + BigInt(length) > 12n ? undefined : bytes.slice(Number(address), Number(address) + length),
  };
  const print = (type: Type, address = 0n, format?: "x") =>
    printValue(valueAt(type, address), { memory, ...(format && { format }) });
  const reference = new PointerType(8, () => int, "lvalue");
  const base = new StructType(
    "struct",
    "Base<long int>",
    4,
    () => [{ name: "n", type: int, byteOffset: 0 }],
    true,
  );
  const inherited = { name: "Base<long int>", type: base, byteOffset: 0, isBase: true };

  it("say where a class has no fields but those it inherits", async () => {
    expect(await print(new StructType("struct", "Derived", 4, () => [inherited], true))).toBe(
      "{<Base<long>> = {n = 7}, <No data fields>}",
    );
    expect(await print(new StructType("struct", "Empty", 1, () => [], true))).toBe("{<No data fields>}");
  });

  it("follow a reference at the top, and none within another value", async () => {
    expect(await print(reference, 4n)).toBe("(int &) @0x10: <error: Cannot access memory at address 0x10>");
    const holder = new StructType(
      "struct",
      "Holder",
      12,
      () => [{ name: "r", type: reference, byteOffset: 4 }],
      true,
    );
    expect(await print(holder)).toBe("{r = @0x10}");
    const zero = { ...valueAt(reference, 0n), bytes: new Uint8Array(8) };
    expect(await printValue(zero, { memory, format: "x" })).toBe("(int &) @0x0: 0x7");
  });

  it("say const once of an array and its elements", () => {
    const constant = new QualifiedType("const", () => int);
    const array = new QualifiedType("const", () => new ArrayType(3, () => constant));
    expect(formatType(new PointerType(8, () => array))).toBe("const int (*)[3]");
    expect(
      formatType(
        new FunctionType(
          () => voidType,
          () => [{ name: undefined, type: array }],
          false,
          true,
        ),
      ),
    ).toBe("void (const int [3])");
    expect(formatType(new EnumType("E<short int>", 4, false, () => [], true))).toBe("E<short>");
  });
});
