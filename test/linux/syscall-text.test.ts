import { expect, test } from "vitest";
import { errorOf, formatArgument, formatFlags, formatResult } from "../../src/linux/syscall-text.js";

const minus = (value: bigint) => BigInt.asUintN(64, -value);

test("results are numbers, addresses, or names of errors", () => {
  expect(formatResult("read", 0n)).toBe("0");
  expect(formatResult("read", minus(2n))).toBe("-ENOENT");
  expect(formatResult("read", minus(11n))).toBe("-EAGAIN");
  expect(formatResult("read", minus(95n))).toBe("-EOPNOTSUPP");
  expect(formatResult("nanosleep", minus(516n))).toBe("-ERESTART_RESTARTBLOCK");
  expect(formatResult("mmap", 0x7f0000000000n)).toBe("0x7f0000000000");
  expect(errorOf(minus(4096n))).toBeUndefined();
  expect(errorOf(minus(4095n))).toBe("E4095");
});

test("arguments are shown as they are declared", () => {
  const shown = (type: string, name: string, value: bigint, text?: string) =>
    formatArgument({ type, name }, value, text === undefined ? undefined : { text, cut: false });
  expect(shown("const char *", "filename", 0x1000n, "/etc/\npasswd")).toBe('"/etc/\\npasswd"');
  expect(shown("const char *", "filename", 0x1000n)).toBe("0x1000");
  expect(shown("const char *", "filename", 0n, "x")).toBe("NULL");
  expect(shown("char *", "buf", 0x1000n, "what was there before")).toBe("0x1000");
  expect(shown("int", "dfd", minus(100n))).toBe("AT_FDCWD");
  expect(shown("int", "dfd", 0xffff_ff9cn)).toBe("AT_FDCWD");
  expect(shown("unsigned int", "fd", 3n)).toBe("3");
  expect(shown("umode_t", "mode", 0o644n)).toBe("0644");
  expect(shown("int", "who", 0xffff_ffffn)).toBe("-1");
  expect(shown("size_t", "count", 4096n)).toBe("4096");
  expect(shown("unsigned long", "addr", 0x7fff_0000_0000n)).toBe("0x7fff00000000");
  expect(formatArgument({ type: "const char *", name: "p" }, 1n, { text: "long", cut: true })).toBe(
    '"long"…',
  );
  expect(formatFlags("openat", { type: "int", name: "flags" }, 0o102n)).toBe("O_RDWR|O_CREAT");
  expect(formatFlags("mmap", { type: "unsigned long", name: "flags" }, 2n)).toBeUndefined();
});
