import { describe, expect, test } from "vitest";
import { decode } from "./instruction.js";

const of = (hex: string, bitness: 16 | 32 | 64 = 64, at = 0x1000n, base = 0n) =>
  decode(Buffer.from(hex, "hex"), bitness, at, base);

describe("decode", () => {
  test.each([
    ["90", "next", 1],
    ["ebfe", "jump", 2],
    ["e900000000", "jump", 5],
    ["7402", "conditional", 2],
    ["e2fe", "conditional", 2],
    ["e3fe", "conditional", 2],
    ["e800000000", "call", 5],
    ["ffd0", "indirect-call", 2],
    ["3effe0", "indirect-jump", 3],
    ["ff2500000000", "indirect-jump", 6],
    ["c3", "return", 1],
    ["f3c3", "return", 2],
    ["c20800", "return", 3],
    ["0f05", "syscall", 2],
    ["0f34", "syscall", 2],
    ["480f07", "sysreturn", 3],
    ["0f35", "sysreturn", 2],
    ["48cf", "iret", 2],
    ["cb", "far", 1],
    ["0faa", "far", 2],
    ["ff2c2500000000", "far", 7],
    ["ff1c2500000000", "far", 7],
    ["cc", "trap", 1],
    ["cd80", "trap", 2],
    ["0f0b", "trap", 2],
    ["f4", "halt", 1],
    ["f390", "pause", 2],
  ] as const)("%s is %s", (hex, flow, length) => {
    expect(of(hex)).toMatchObject({ flow, length });
  });

  test("far jumps with their target in them exist below 64 bits", () => {
    expect(of("ea000010000800", 32)).toMatchObject({ flow: "far" });
    expect(of("ea000010000800", 64)).toBeUndefined();
  });

  test("targets are linear and wrap inside the segment", () => {
    expect(of("ebfe")?.target).toBe(0x1000n);
    expect(of("e90000", 16, 0xffffdn, 0xf0000n)?.target).toBe(0xf0000n);
  });

  test("rep strings repeat; others do not", () => {
    expect(of("f3a4")?.repeats).toBe(true);
    expect(of("f2ae")?.repeats).toBe(true);
    expect(of("f36c")?.repeats).toBe(true);
    expect(of("a4")?.repeats).toBe(false);
    expect(of("f30fb8c0")?.repeats).toBe(false);
  });

  test("bytes that are cut off are no instruction", () => {
    expect(of("e8000000")).toBeUndefined();
  });
});
