import fc from "fast-check";
import { expect, test } from "vitest";
import type { BranchRecord } from "./branch-record.js";
import { compareLogs, showMismatch } from "./compare.js";

const log: BranchRecord[] = Array.from({ length: 200 }, (_, i) => {
  return { from: BigInt(i % 7), to: BigInt(i % 5), kind: "jump", icount: i * 3 };
});

test("equal logs have no mismatches", () => {
  expect(compareLogs(log, [...log])).toEqual([]);
  expect(compareLogs([], [])).toEqual([]);
});

test("each record left out, put in or changed is reported once, in its place", () => {
  fc.assert(
    fc.property(fc.nat(log.length - 1), fc.constantFrom("out", "in", "changed"), (index, how) => {
      const got = [...log];
      const other: BranchRecord = { ...log[index]!, kind: "call" };
      if (how === "out") got.splice(index, 1);
      else if (how === "in") got.splice(index, 0, other);
      else got[index] = other;
      const expected = how === "in" ? undefined : log[index];
      expect(compareLogs(log, got)).toEqual([{ index, expected, got: how === "out" ? undefined : other }]);
    }),
  );
});

test("a log that stops early lacks the rest", () => {
  expect(compareLogs(log, log.slice(0, 150))).toHaveLength(50);
  expect(compareLogs(log.slice(0, 50), log)).toHaveLength(150);
});

test("a mismatch reads as one line", () => {
  const [mismatch] = compareLogs(log.slice(0, 1), []);
  expect(showMismatch(mismatch!)).toBe("#0: expected 0 -> 0 jump @0, got nothing");
});
