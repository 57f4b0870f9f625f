import { totalmem } from "node:os";
import { describe, expect, test } from "vitest";
import { parseDisk, parseMemoryMB, parseSymbols } from "../../src/tape/record-options.js";

const usage = (message: RegExp) =>
  expect.objectContaining({ code: "usage", message: expect.stringMatching(message) });

describe("memory", () => {
  test("in megabytes", () => {
    expect(parseMemoryMB("1")).toBe(1);
    expect(parseMemoryMB("512")).toBe(512);
  });

  test.each(["0", "-1", "1.5", "", "many", "0x10", "1e3", " 5", "5 ", "9".repeat(400)])(
    "%j is refused",
    (text) => {
      expect(() => parseMemoryMB(text)).toThrow(usage(/is not a whole number of megabytes, 1 or more$/));
    },
  );

  test("beyond the host's is refused", () => {
    const hostMB = Math.floor(totalmem() / 2 ** 20);
    expect(parseMemoryMB(String(hostMB))).toBe(hostMB);
    expect(() => parseMemoryMB(String(hostMB + 1))).toThrow(usage(/is more than this host has/));
  });
});

describe("a disk", () => {
  test.each([
    ["a.img", { path: "a.img" }],
    ["a,b.img", { path: "a,b.img" }],
    ["a.img,format=qcow2", { path: "a.img", format: "qcow2" }],
    ["a,format=raw,format=raw", { path: "a,format=raw", format: "raw" }],
  ])("%s", (text, expected) => {
    expect(parseDisk(text)).toEqual(expected);
  });

  test.each([
    ["", /needs the path of an image/],
    [",format=raw", /needs the path of an image/],
    ["a.img,format=vmdk", /format 'vmdk' is not known/],
  ])("%j is refused", (text, message) => {
    expect(() => parseDisk(text)).toThrow(usage(message));
  });
});

describe("symbols", () => {
  test.each([
    ["vmlinux", { path: "vmlinux" }],
    ["a,prefix=mod:", { path: "a", prefix: "mod:" }],
    ["a,range=0x10-0x20", { path: "a", range: { low: 16n, high: 32n } }],
    ["a,range=5-5,prefix=", { path: "a", prefix: "", range: { low: 5n, high: 5n } }],
    ["a,range=0x0-0xffffffffffffffff", { path: "a", range: { low: 0n, high: 2n ** 64n - 1n } }],
  ])("%s", (text, expected) => {
    expect(parseSymbols(text)).toEqual(expected);
  });

  test.each([
    ["", /path is missing/],
    ["a,range=5", /'5' is no range/],
    ["a,range=9-1", /upside down/],
    ["a,range=0x1-0x10000000000000000", /is no range/],
    ["a,range=1-99999999999999999999", /is no 64-bit address/],
    ["a,colour=red", /'colour=red' is neither/],
    [`a,prefix=${"x".repeat(65)}`, /is neither/],
  ])("%j is refused", (text, message) => {
    expect(() => parseSymbols(text)).toThrow(usage(message));
  });
});
