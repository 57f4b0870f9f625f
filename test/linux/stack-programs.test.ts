import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { loadBiasOf } from "../../src/linux/names/stack-files.js";
import { type GuestPrograms, TaskPrograms } from "../../src/linux/names/stack-programs.js";
import type { Mapping } from "../../src/linux/objects/mappings.js";
import { ElfFile, type ElfSegment } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { makeElf } from "../symbols/elf-fixture.js";

const segment = (offset: number, address: number, fileSize: number, flags: number): ElfSegment => ({
  type: 1,
  flags,
  offset,
  address: BigInt(address),
  physicalAddress: 0n,
  fileSize,
  memorySize: fileSize,
});
const elfWith = (...segments: ElfSegment[]) => ({ segments }) as unknown as ElfFile;

describe("where a file was loaded", () => {
  // As rustc's linker does it: each segment has a page of memory of its own, but two share a page of the file.
  const shared = elfWith(
    segment(0, 0, 0x16aac, 4),
    segment(0x16ab0, 0x17ab0, 0x45fa0, 5),
    segment(0x5ca50, 0x5ea50, 0x2ec8, 6),
  );

  it("is told by the segment that is mapped, where two have the page", () => {
    const start = 0x55c3_2743_b000n;
    expect(loadBiasOf(shared, { start, fileOffset: 0x16000n, isCode: true })).toBe(0x55c3_2742_4000n);
    expect(loadBiasOf(shared, { start, fileOffset: 0x16000n })).toBe(0x55c3_2742_4000n);
    expect(loadBiasOf(shared, { start: start + 0x1000n, fileOffset: 0x17000n, isCode: true })).toBe(
      0x55c3_2742_4000n,
    );
    expect(loadBiasOf(shared, { start: 0x55c3_2742_4000n, fileOffset: 0n })).toBe(0x55c3_2742_4000n);
    expect(loadBiasOf(shared, { start, fileOffset: 0x90000n, isCode: true })).toBeUndefined();
  });

  it("is told by the file's own start for its header, by code for code, in a program of one page", () => {
    const tiny = elfWith(
      segment(0, 0, 0x5a0, 4),
      segment(0x5b0, 0x15b0, 0x200, 5),
      segment(0x7b0, 0x27b0, 0x80, 6),
    );
    expect(loadBiasOf(tiny, { start: 0x7000n, fileOffset: 0n })).toBe(0x7000n);
    expect(loadBiasOf(tiny, { start: 0x8000n, fileOffset: 0n, isCode: true })).toBe(0x7000n);
    const old = elfWith(segment(0, 0x400000, 0x900, 5), segment(0xe00, 0x600e00, 0x80, 6));
    expect(loadBiasOf(old, { start: 0x400000n, fileOffset: 0n })).toBe(0n);
  });
});

/** A program at a fixed address with one function. */
const tableOf = (name: string, start: bigint) =>
  readElfSymbols(
    ElfFile.open(
      syncBytes(
        makeElf({
          type: 2,
          sections: [{ name: ".text", address: start, bytes: new Uint8Array(0x100) }],
          symbols: [{ name, value: start, size: 0x100, section: ".text" }],
        }),
      ),
    ),
  );

describe("names of a task's addresses", () => {
  const mapping = (start: bigint, path: string | undefined): Mapping =>
    ({
      start,
      end: start + 0x1000n,
      permissions: "r-xp",
      fileOffset: 0n,
      name: path,
      file: path && { kind: "file", path },
    }) as never;
  const programs = {
    isNamed: (source: string) => source === "mine" || source === "elsewhere",
    find: async () => undefined,
  } as unknown as GuestPrograms;
  const task = new TaskPrograms(programs, [mapping(0x400000n, "/bin/mine"), mapping(0x500000n, undefined)], {
    read: async () => undefined,
  });
  const lookup = (source: string, prefix: string | undefined, address: bigint) => {
    const others = new Symbols();
    others.add({
      name: source,
      table: tableOf("work", address),
      ...(prefix !== undefined && { prefix }),
    });
    return task.lookup(address, others)?.name;
  };

  it("are not those of another program at the same address", () => {
    expect(lookup("bin/other", undefined, 0x400010n)).toBeUndefined();
    expect(lookup("bin/other", undefined, 0x500010n)).toBeUndefined();
    expect(lookup("bin/other", undefined, 0x700000n)).toBeUndefined();
  });

  it("are what the user named for this file, or with a prefix", () => {
    expect(lookup("mine", undefined, 0x400010n)).toBe("work");
    expect(lookup("elsewhere", undefined, 0x400010n)).toBe("work");
    expect(lookup("mine", undefined, 0x500010n)).toBeUndefined();
    expect(lookup("bin/other", "U:", 0x500010n)).toBe("work");
  });
});
