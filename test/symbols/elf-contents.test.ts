import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { openSection, sectionBytes } from "../../src/symbols/elf/contents.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { type FixtureSection, makeElf, pack } from "./elf-fixture.js";

const text = Buffer.from("what a section holds, ".repeat(50));
const open = (section: FixtureSection, bits: 32 | 64 = 64) =>
  ElfFile.open(syncBytes(makeElf({ bits, sections: [{ flags: 0, ...section }] })));
const compressed = 0x800;

const headed = (type: number, size: number | bigint, packed: Uint8Array, bits: 32 | 64) =>
  Buffer.concat([
    bits === 64 ? pack([type, 4], [0, 4], [size, 8], [1, 8]) : pack([type, 4], [size, 4], [1, 4]),
    packed,
  ]);
/** A zstd frame of one stored block, with its size. */
const zstd = Buffer.concat([
  pack([0xfd2fb528, 4], [0x60, 1], [text.length - 256, 2], [(text.length << 3) | 1, 3]),
  text,
]);
const old = (size: number, packed: Uint8Array) =>
  Buffer.concat([Buffer.from("ZLIB\0\0\0\0"), Buffer.from(pack([size, 4])).reverse(), packed]);

describe.each([32, 64] as const)("in %i-bit files", (bits) => {
  it.each([
    ["plain", { name: ".debug_x", bytes: text }],
    ["zlib", { name: ".debug_x", flags: compressed, bytes: headed(1, text.length, deflateSync(text), bits) }],
    ["zstd", { name: ".debug_x", flags: compressed, bytes: headed(2, text.length, zstd, bits) }],
    ["old", { name: ".zdebug_x", bytes: old(text.length, deflateSync(text)) }],
  ])("reads a %s section", (_, section) => {
    const elf = open(section, bits);
    expect(Buffer.from(sectionBytes(elf, ".debug_x"))).toEqual(text);
    const source = openSection(elf, ".debug_x")!;
    expect(Buffer.from(source.read(5, 9))).toEqual(text.subarray(5, 14));
    expect(() => source.read(text.length - 1, 2)).toThrow(/ends at byte 1100/);
  });
});

it("has nothing of a section that is not there, or has no contents here", () => {
  expect(openSection(open({ name: ".debug_y", bytes: text }), ".debug_x")).toBeUndefined();
  expect(openSection(open({ name: ".debug_x", type: 8, size: 100 }), ".debug_x")).toBeUndefined();
  expect(sectionBytes(open({ name: ".debug_y", bytes: text }), ".debug_x")).toEqual(new Uint8Array(0));
});

const damaged: [why: string, section: FixtureSection, error: RegExp][] = [
  ["outside the file", { name: ".debug_x", size: 1 << 20 }, /outside the file/],
  ["a cut header", { name: ".debug_x", flags: compressed, bytes: new Uint8Array(10) }, /damaged/],
  [
    "a method of its own",
    { name: ".debug_x", flags: compressed, bytes: headed(9, 5, text, 64) },
    /unknown method 9/,
  ],
  ["no data", { name: ".debug_x", flags: compressed, bytes: headed(1, 5, text, 64) }, /cannot be unpacked/],
  [
    "a size too small",
    { name: ".debug_x", flags: compressed, bytes: headed(1, 5, deflateSync(text), 64) },
    /unpacked/,
  ],
  [
    "a size too large",
    { name: ".debug_x", flags: compressed, bytes: headed(1, 5000, deflateSync(text), 64) },
    /unpacked/,
  ],
  [
    "an absurd size",
    { name: ".debug_x", flags: compressed, bytes: headed(1, 1n << 60n, deflateSync(text), 64) },
    /more than 1073741824/,
  ],
  [
    "a bomb of a size",
    { name: ".debug_x", flags: compressed, bytes: headed(1, 1 << 29, deflateSync(text), 64) },
    /unpacked/,
  ],
  ["another magic", { name: ".zdebug_x", bytes: Buffer.from("ZLIC00000000xxxxxxx") }, /damaged/],
];

it.each(damaged)("refuses a section with %s", (_, section, error) => {
  expect(() => sectionBytes(open(section), ".debug_x")).toThrow(error);
});

it("never crashes on a section that is cut", () => {
  const packed = deflateSync(text);
  for (let length = 0; length < packed.length; length++) {
    const section = {
      name: ".debug_x",
      flags: compressed,
      bytes: headed(1, text.length, packed.subarray(0, length), 64),
    };
    expect(() => sectionBytes(open(section), ".debug_x")).toThrow(/unpacked/);
  }
});
