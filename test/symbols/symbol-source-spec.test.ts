import { expect, it } from "vitest";
import { parseSymbolSource } from "../../src/symbols/names/symbol-source-spec.js";

it.each([
  ["a.out", { file: "a.out" }],
  ["/bin/sh,prefix=User:", { file: "/bin/sh", prefix: "User:" }],
  [
    "vmlinux,range=0xffffffff80000000-0xffffffffffffffff,prefix=",
    { file: "vmlinux", prefix: "", range: { first: 0xffff_ffff_8000_0000n, last: 0xffff_ffff_ffff_ffffn } },
  ],
  [
    "lib.so,bias=0x7ffff7c00000,range=16-31",
    { file: "lib.so", bias: 0x7fff_f7c0_0000n, range: { first: 16n, last: 31n } },
  ],
  ["a,b.out,prefix=x=y", { file: "a,b.out", prefix: "x=y" }],
])("reads %s", (text, spec) => {
  expect(parseSymbolSource(text)).toEqual(spec);
});

it.each([
  ["", /names no file/],
  [",prefix=x", /names no file/],
  ["a,prefix=x,prefix=y", /prefix= is given twice/],
  ["a,prefix=x,colour=red", /"colour=red" is not prefix=, range=, bias= or debug=/],
  ["a,prefix=x,y", /"y" is not/],
  ["a,range=5", /"5" is not LOW-HIGH/],
  ["a,range=0x20-0x10", /ends before it starts/],
  ["a,range=0x-5", /"0x" is not an address/],
  ["a,bias=0x10000000000000000", /is not an address/],
  ["a,bias=-1", /"-1" is not an address/],
])("refuses %s", (text, message) => {
  expect(() => parseSymbolSource(text)).toThrow(message);
});
