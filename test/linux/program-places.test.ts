import { describe, expect, test } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { type FileMapping, type SpaceEvent, TaskHistory } from "../../src/linux/history/task-history.js";
import type { GuestPrograms } from "../../src/linux/names/stack-programs.js";
import { isProgram, ProgramPlaces, programWords } from "../../src/linux/probe/program-places.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { makeElf } from "../symbols/elf-fixture.js";

describe("PROGRAM:WHAT", () => {
  test.each([
    ["worker:main", { program: "worker", what: "main" }],
    ["/usr/bin/worker:ma*", { program: "/usr/bin/worker", what: "ma*" }],
    ["worker:worker.c:12", { program: "worker", what: "worker.c:12" }],
    ["worker:ns::run", { program: "worker", what: "ns::run" }],
    ["worker.c:12", undefined],
    ["ns::run", undefined],
    ["main", undefined],
    [":main", undefined],
    ["worker:", undefined],
  ])("%s", (text, words) => {
    expect(programWords(text)).toEqual(words);
  });
  test("a program is its path, the last part of it, or a library's name", () => {
    expect(isProgram("/usr/bin/worker", "worker")).toBe(true);
    expect(isProgram("/usr/bin/worker", "/usr/bin/worker")).toBe(true);
    expect(isProgram("/usr/bin/worker", "/bin/worker")).toBe(false);
    expect(isProgram("/usr/lib/libc.so.6", "libc")).toBe(true);
    expect(isProgram("/usr/lib/libstdc++.so.6.0.30", "libstdc++")).toBe(true);
    expect(isProgram("/usr/lib/libcrypt.so.1", "libc")).toBe(false);
  });
});

describe("places in programs that ran", () => {
  const program = (names: Readonly<Record<string, bigint>>) =>
    ElfFile.open(
      syncBytes(
        makeElf({
          type: 3,
          segments: true,
          sections: [{ name: ".text", address: 0x1000n, bytes: new Uint8Array(0x1000) }],
          symbols: Object.entries(names).map(([name, value]) => ({
            name,
            value,
            size: 0x10,
            section: ".text",
          })),
        }),
      ),
    );
  const files: Readonly<Record<string, ElfFile>> = {
    "/usr/bin/worker": program({ work: 0x1100n, rest: 0x1200n }),
    "/usr/lib/libwork.so.1": program({ work: 0x1300n }),
  };
  const asked: string[] = [];
  const programs = {
    findByPath: async (path: string, inode: bigint) => {
      asked.push(`${path} ${inode}`);
      return files[path];
    },
    symbolsOf: (elf: ElfFile, name: string) => ({ name, table: readElfSymbols(elf) }),
  } as unknown as GuestPrograms;

  // The fixture's code is at the file offset that its segment states, so mappings start whole pages from there.
  const offset = BigInt(files["/usr/bin/worker"]!.segments.find(({ type }) => type === 1)!.offset);
  const mapping = (path: string, start: bigint, inode: bigint): FileMapping => ({
    start,
    end: start + 0x2000n,
    fileOffset: offset & ~0xfffn,
    path,
    device: 1,
    inode,
  });
  const map = (icount: number, mm: bigint, one: FileMapping): SpaceEvent => ({
    icount,
    mm,
    kind: "map",
    mapping: one,
  });
  const history = new TaskHistory({
    icounts: Float64Array.of(0),
    brctrs: Float64Array.of(0),
    numbers: Int32Array.of(0),
    tasks: [{ pid: 1, tgid: 1, name: "init", address: 1n, mm: 1n }],
    crossings: Float64Array.of(),
    spaces: [
      map(10, 1n, mapping("/usr/bin/worker", 0x5500_0000_0000n, 7n)),
      map(11, 1n, mapping("/usr/lib/libwork.so.1", 0x7f00_0000_0000n, 8n)),
      { icount: 12, mm: 2n, kind: "copy", from: 1n },
      map(20, 3n, mapping("/usr/bin/worker", 0x5600_0000_0000n, 7n)),
      map(30, 3n, mapping("/usr/bin/other", 0x5700_0000_0000n, 9n)),
    ],
    end: { icount: 100, brctr: 9 },
  });
  const places = new ProgramPlaces(history, programs);
  const addresses = async (where: string) => (await places.find(where)).map(({ address }) => address);
  const bias = (start: bigint) => start + (offset & 0xfffn) - 0x1000n;

  test("are wherever the kernel put the program", async () => {
    expect(await addresses("worker:work")).toEqual([
      bias(0x5500_0000_0000n) + 0x1100n,
      bias(0x5600_0000_0000n) + 0x1100n,
    ]);
    expect(asked).toContain("/usr/bin/worker 7");
    const [first] = await places.find("/usr/bin/worker:rest");
    expect(first).toMatchObject({
      label: "rest",
      program: { path: "/usr/bin/worker", inode: 7n, since: 10, isEntry: true, hasDebug: false },
    });
  });
  test("of a name alone are in all programs that have it", async () => {
    expect(await addresses("work")).toHaveLength(3);
    expect(await addresses("libwork:work")).toEqual([bias(0x7f00_0000_0000n) + 0x1300n]);
    expect(await addresses("libwork:w*")).toHaveLength(1);
    expect(await addresses("worker:*")).toHaveLength(4);
    expect(await addresses("nothing")).toEqual([]);
    expect(await addresses("worker:nothing")).toEqual([]);
  });
  test("of a program that never ran, or of which nothing is known, say so", async () => {
    await expect(places.find("work:work")).rejects.toMatchObject({
      code: "not-found",
      message: "no program 'work' ever ran; there are worker, libwork.so.1",
    });
    await expect(places.find("other:main")).rejects.toMatchObject({
      code: "not-found",
      message: "nothing is known of the names in /usr/bin/other",
    });
  });
});
