import { expect, test } from "vitest";
import type { GuestMemory } from "../../src/base/guest-memory.js";
import { ArrayType, type IntType, PointerType, StructType } from "../../src/symbols/types/type.js";
import { childCount, childrenOf } from "../../src/symbols/values/children.js";
import { printValue } from "../../src/symbols/values/print.js";
import { type Value, valueAt } from "../../src/symbols/values/value.js";

const int: IntType = { kind: "int", name: "int", size: 4, signed: true, style: "number" };
const list: StructType = new StructType("struct", "list", 24, () => [
  { name: "next", type: new PointerType(8, () => list), byteOffset: 0 },
  { name: "numbers", type: new ArrayType(3, () => int), byteOffset: 8 },
  { name: "low", type: int, byteOffset: 20, bitOffset: 0, bitSize: 3 },
  { name: "high", type: int, byteOffset: 20, bitOffset: 3, bitSize: 5 },
]);

/** Two lists at 0x1000 and 0x1100; the second one's `next` is null. */
const bytes = Buffer.alloc(0x200);
bytes.writeBigUInt64LE(0x1100n, 0);
for (const [i, number] of [7, -8, 9].entries()) bytes.writeInt32LE(number, 8 + 4 * i);
bytes[20] = 0b10110_011;
for (const [i, number] of [1, 2, 3].entries()) bytes.writeInt32LE(number, 0x108 + 4 * i);
const memory: GuestMemory = {
  async read(address, length) {
    const at = Number(address) - 0x1000;
    return at >= 0 && at + length <= bytes.length ? bytes.subarray(at, at + length) : undefined;
  },
};
const told = async (value: Value, options = {}) => {
  const lines: string[] = [];
  for (const child of await childrenOf(value, memory, options)) {
    lines.push(`${child.name}=${await printValue(child.value, { memory, nameOf: () => undefined })}`);
  }
  return lines;
};

test("members, bit fields among them, elements, and what a pointer leads to", async () => {
  const first = valueAt(list, 0x1000n);
  expect(childCount(first)).toBe(4);
  expect(await told(first)).toEqual([
    "next=(struct list *) 0x1100",
    "numbers={7, -8, 9}",
    "low=3",
    "high=-10",
  ]);
  const [next, numbers] = await childrenOf(first, memory);
  expect(await told(numbers!.value)).toEqual(["[0]=7", "[1]=-8", "[2]=9"]);
  expect(await told(numbers!.value, { from: 1, most: 1 })).toEqual(["[1]=-8"]);
  const [target] = await childrenOf(next!.value, memory);
  expect(target?.name).toBe("*");
  expect((await told(target!.value))[1]).toBe("numbers={1, 2, 3}");
  const [last] = await childrenOf(target!.value, memory);
  expect(await childrenOf(last!.value, memory)).toEqual([]); // a null pointer leads nowhere
});

test("the same of a value that is in no memory, and of its holes", async () => {
  const value: Value = {
    type: list,
    bytes: bytes.subarray(0, 24),
    holes: [{ start: 8, end: 20, missing: "optimized out" }],
  };
  expect(await told(value)).toEqual([
    "next=(struct list *) 0x1100",
    "numbers=<optimized out>",
    "low=3",
    "high=-10",
  ]);
  expect(childCount({ type: list, missing: "optimized out" })).toBe(0);
});

test("numbers have none, and an array without a count none that are known", async () => {
  expect(await told(valueAt(int, 0x1008n))).toEqual([]);
  expect(childCount(valueAt(new ArrayType(undefined, () => int), 0x1008n))).toBe(0);
});
