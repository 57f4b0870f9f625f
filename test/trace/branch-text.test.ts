import { describe, expect, test } from "vitest";
import { BranchText } from "../../src/trace/branch-text.js";
import { parseBrctrAround, parseCNumber, rangeAround } from "../../src/trace/range-text.js";
import { DrawnFunctions, drawnBatch } from "./call-trace-text.js";

describe("numbers of -S and -E", () => {
  test("are read in any base that C reads", () => {
    expect(["0", "15", "0x1F", "017", "0X10"].map((text) => parseCNumber(text, "-S"))).toEqual([
      0, 15, 31, 15, 16,
    ]);
    expect(parseBrctrAround("0x10:010", "-S")).toEqual({ value: 16, radius: 8 });
    expect(parseBrctrAround("7", "-S")).toEqual({ value: 7, radius: 0 });
  });

  test("are refused when they are none", () => {
    for (const text of [
      "",
      "-1",
      "+1",
      "08",
      "1e3",
      "0x",
      "12k",
      "1:2:3",
      ":5",
      "5:",
      " 1",
      "9007199254740992",
    ]) {
      expect(() => parseBrctrAround(text, "-S"), text).toThrow(/-S/);
    }
  });

  test("make a range that takes both radii in, and ends where its ends are", () => {
    const around = (value: number, radius = 0) => ({ value, radius });
    expect(rangeAround(around(100, 5), around(200, 7))).toEqual({ first: 95, last: 207 });
    expect(rangeAround(around(3, 5), undefined)).toEqual({ first: 0, last: undefined });
    expect(rangeAround(undefined, around(9))).toEqual({ first: 0, last: 9 });
    expect(rangeAround(around(9), around(9))).toEqual({ first: 9, last: 9 });
    expect(() => rangeAround(around(10, 3), around(9))).toThrow(/start 10 lies beyond the end 9/);
  });
});

describe("lines of branches", () => {
  const functions = new DrawnFunctions();
  const batch = drawnBatch("main+16 call foo\nfoo+8 cond foo+40", functions);

  test("are lines, whatever the names in a stranger's file hold", () => {
    const write = () => "ma\nin\x1b[2J";
    const lines = new BranchText({ write, wideNumbers: false, details: false }).lines(batch).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^\d+: ma\\nin\\033\[2J -> ma\\nin\\033\[2J$/);
  });

  test("have the number, plain or in twelve digits, and the addresses", () => {
    const plain = new BranchText({ wideNumbers: false, details: false });
    expect(plain.lines(batch)).toBe(
      "0: 0xffffffff81000010 -> 0xffffffff81001000\n1: 0xffffffff81001008 -> 0xffffffff81001028\n",
    );
    const wide = new BranchText({ wideNumbers: true, details: true });
    expect(wide.lines(batch).split("\n")[1]).toBe(
      "000000000001: 0xffffffff81001008 -> 0xffffffff81001028  conditional @1",
    );
    expect(plain.address(0x400n)).toBe("0x00000400");
  });

  test("have names as they are written by who knows them", () => {
    const named = new BranchText({
      write: (address) => functions.write(address),
      wideNumbers: false,
      details: false,
    });
    expect(named.lines(batch)).toBe("0: main+16 -> foo\n1: foo+8 -> foo+40\n");
  });
});
