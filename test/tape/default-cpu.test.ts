import { expect, test } from "vitest";
import { defaultCpu } from "../../src/tape/record-options.js";

// The results of plain QEMU, for comparison: `cmp %rdi, %rsi; cmpxchg16b cell; pushf` gives 0x2345678b on 7.2.22, and
// 0x93 on 10.0.2, with rdi = 0x2345678923456789.
test("no cmpxchg16b where QEMU computes its flags from another instruction's", () => {
  expect(defaultCpu("7.2.22")).toBe("qemu64,+rdrand,-cx16");
  expect(defaultCpu("8.2.2")).toBe("qemu64,+rdrand");
  expect(defaultCpu("10.0.2")).toBe("qemu64,+rdrand");
});
