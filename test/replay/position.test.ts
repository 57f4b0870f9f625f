import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { brctr, guestAddress, icount } from "../../src/base/units.js";
import {
  comparePositions,
  formatPosition,
  formatWritten,
  parsePosition,
} from "../../src/replay/session/position.js";

describe("a written position", () => {
  test.each([
    ["start", { kind: "start" }],
    ["end", { kind: "end" }],
    ["@5986628577", { kind: "icount", icount: 5986628577n }],
    ["@5_986_628_577", { kind: "icount", icount: 5986628577n }],
    ["do_idle", { kind: "symbol", name: "do_idle" }],
    ["do_idle:12", { kind: "symbol", name: "do_idle", visit: { brctr: 12n, rep: 0n } }],
    ["ns::f:7", { kind: "symbol", name: "ns::f", visit: { brctr: 7n, rep: 0n } }],
    ["ns::f", { kind: "symbol", name: "ns::f" }],
    ["0xffffffff81091685", { kind: "address", address: 0xffffffff81091685n }],
    ["0x10:3", { kind: "address", address: 0x10n, visit: { brctr: 3n, rep: 0n } }],
    ["0x10:3/40", { kind: "address", address: 0x10n, visit: { brctr: 3n, rep: 40n } }],
  ])("%s", (text, expected) => {
    expect(parsePosition(text)).toEqual(expected);
  });

  test.each([
    "",
    "@",
    "@-1",
    "@1x",
    "@99999999999999999",
    "123",
    "0x",
    "0xg",
    "0x11111111111111111",
    ":3",
    "a b",
    "f:",
    "0x10:",
    "0x10:3/",
  ])("%j is refused", (text) => {
    expect(() => parsePosition(text)).toThrow(/is no position/);
  });

  test("is read back as it is written", () => {
    const count = fc.bigInt({ min: 0n, max: 2n ** 53n - 1n });
    const visit = fc.option(fc.record({ brctr: count.map(brctr), rep: count }), { nil: undefined });
    const place = fc.oneof(
      fc.record({ kind: fc.constant("icount" as const), icount: count.map(icount) }),
      fc
        .record({ address: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(guestAddress), visit })
        .map(({ address, visit }) => ({ kind: "address" as const, address, ...(visit && { visit }) })),
      fc
        .record({ name: fc.stringMatching(/^[a-z_][a-z0-9_.]{0,20}$/), visit })
        .filter(({ name }) => name !== "start" && name !== "end")
        .map(({ name, visit }) => ({ kind: "symbol" as const, name, ...(visit && { visit }) })),
    );
    fc.assert(
      fc.property(place, (position) => {
        expect(parsePosition(formatWritten(position))).toEqual(position);
      }),
    );
  });
});

describe("a position", () => {
  const at = (count: bigint) => ({
    icount: icount(count),
    pc: guestAddress(0xffffffff81091685n),
    brctr: brctr(123456789),
    rep: 0n,
  });

  test("is printed with its name", () => {
    expect(formatPosition(at(5986628577n), "do_idle+0x85")).toBe(
      "0xffffffff81091685:123456789 @5986628577 <do_idle+0x85>",
    );
    expect(formatPosition({ ...at(1n), rep: 4n })).toBe("0xffffffff81091685:123456789/4 @1");
  });

  test("is ordered by its icount", () => {
    expect(comparePositions(at(1n), at(2n))).toBeLessThan(0);
    expect(comparePositions(at(2n), at(1n))).toBeGreaterThan(0);
    expect(comparePositions(at(2n), at(2n))).toBe(0);
  });
});
