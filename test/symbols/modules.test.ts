import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuestMemory } from "../../src/base/guest-memory.js";
import { walkedMemory } from "../../src/linux/guest/page-tables.js";
import { readModules } from "../../src/symbols/kernel/modules.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import type { SymbolTable } from "../../src/symbols/tables/symbol-table.js";
import { pack } from "./elf-fixture.js";

const head = 0xffff_ffff_82c4_b300n;
const slide = 0x1e0_0000n;
const kernelTable: SymbolTable = {
  names: NameList.from(["modules"]),
  starts: Float64Array.of(Number(BigInt.asIntN(64, head))),
  sizes: Float64Array.of(0),
  kinds: Uint8Array.of(0x64),
  intervals: { starts: new Float64Array(0), symbols: new Int32Array(0) },
};

/** A megabyte of module memory from here, and the list head elsewhere. */
const area = 0xffff_ffff_c020_0000n;
interface FakeModule {
  readonly name: string;
  /** Offset of the member `kallsyms` in `struct module`: it depends on the configuration. */
  readonly kallsymsAt: number;
  readonly state?: number;
}

/** Lays out each module in 64 kB: text, then data with struct module, then its symbol tables. */
function makeMemory(modules: readonly FakeModule[]): { memory: GuestMemory; bytes: Uint8Array } {
  const bytes = new Uint8Array(0x10_0000);
  const put = (address: bigint, part: Uint8Array) => bytes.set(part, Number(address - area));
  const nodes = modules.map((_, i) => area + BigInt(i * 0x10000) + 0x8008n);
  const ring = [head + slide, ...nodes, head + slide];
  modules.forEach(({ name, kallsymsAt, state }, i) => {
    const base = area + BigInt(i * 0x10000);
    const struct = base + 0x8000n;
    const tables = base + 0xa000n;
    put(struct, pack([state ?? 0, 4], [0, 4], [ring[i + 2]!, 8], [ring[i]!, 8]));
    put(struct + 24n, Buffer.from(name));
    put(struct + 128n, pack([base, 8], [0x4000, 4], [0x4000, 4]));
    put(struct + 160n, pack([base + 0x8000n, 8], [0x8000, 4], [0, 4]));
    const strings = `\0${name}_probe\0${name}_remove\0`;
    const at = struct + BigInt(kallsymsAt);
    put(at, pack([at + 8n, 8], [tables, 8], [3, 4], [0, 4], [tables + 0x200n, 8], [tables + 0x400n, 8]));
    const entry = (nameAt: number, value: bigint, size: number) =>
      pack([nameAt, 4], [2, 1], [0, 1], [1, 2], [value, 8], [size, 8]);
    put(
      tables,
      Buffer.concat([new Uint8Array(24), entry(1, base, 0x20), entry(8 + name.length, base + 0x20n, 0)]),
    );
    put(tables + 0x200n, Buffer.from(strings));
    put(tables + 0x400n, Buffer.from("\0tT"));
  });
  const listHead = pack([ring[1]!, 8], [ring.at(-2)!, 8]);
  const memory: GuestMemory = {
    read: async (address, length) => {
      const home =
        address >= head
          ? address >= area
            ? { at: area, bytes }
            : { at: head + slide, bytes: listHead }
          : undefined;
      const into = home ? Number(address - home.at) : -1;
      return home && into >= 0 && into + length <= home.bytes.length
        ? home.bytes.slice(into, into + length)
        : undefined;
    },
  };
  return { memory, bytes };
}

const kernel = { table: kernelTable, slide };

describe("the modules in guest memory", () => {
  it("are read with names, memory and symbols, wherever the members are", async () => {
    const { memory } = makeMemory([
      { name: "virtio", kallsymsAt: 320 },
      { name: "virtio_net", kallsymsAt: 704 },
      { name: "ext4", kallsymsAt: 320, state: 1 },
    ]);
    const modules = await readModules(memory, kernel);
    expect(modules?.map(({ name, state }) => `${name} ${state}`)).toEqual([
      "virtio live",
      "virtio_net live",
      "ext4 coming",
    ]);
    expect(modules![1]!.regions).toEqual([
      { start: area + 0x10000n, end: area + 0x14000n },
      { start: area + 0x18000n, end: area + 0x20000n },
    ]);
    const symbols = new Symbols();
    for (const { name, table } of modules!) symbols.add({ name: `module ${name}`, table });
    const named = (offset: number) => symbols.nameOf(area + BigInt(offset))?.name;
    expect(named(0x10005)).toBe("virtio_net_probe");
    expect(named(0x10021)).toBe("virtio_net_remove");
    expect(named(0x13fff)).toBe("virtio_net_remove");
    expect(named(0x14000)).toBeUndefined();
    expect(symbols.find("ext4_probe")).toMatchObject([{ address: area + 0x20000n, kind: "t" }]);
  });

  it("are none when the list is empty, and unknown when it is no list", async () => {
    expect(await readModules(makeMemory([]).memory, kernel)).toEqual([]);
    const { memory } = makeMemory([{ name: "virtio", kallsymsAt: 320 }]);
    expect(await readModules(memory, { table: kernelTable, slide: 0n })).toBeUndefined();
    const noSymbol = { ...kernelTable, names: NameList.from(["other"]) };
    expect(await readModules(memory, { table: noSymbol, slide })).toBeUndefined();
  });

  it("never make the reader crash or run away, whatever the memory holds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0x8000, max: 0xa480 }), fc.integer({ min: 0, max: 255 })), {
          maxLength: 8,
        }),
        async (changes) => {
          const { memory, bytes } = makeMemory([{ name: "virtio", kallsymsAt: 320 }]);
          for (const [at, value] of changes) bytes[at] = value;
          await readModules(memory, kernel);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("page tables", () => {
  const frames = new Map<bigint, Uint8Array>();
  const table = (at: bigint, entries: Readonly<Record<number, bigint>>) => {
    const bytes = new Uint8Array(4096);
    for (const [index, entry] of Object.entries(entries)) bytes.set(pack([entry, 8]), Number(index) * 8);
    frames.set(at, bytes);
  };
  // 0xffffffff81000000 by a 2 MB page, 0xffffffffc0200000 by a 4 kB page with no-execute set, then a hole.
  table(0x1000n, { 511: 0x2000n | 3n });
  table(0x2000n, { 510: 0x3000n | 3n, 511: 0x4000n | 3n });
  table(0x3000n, { 8: 0x60_0000n | 0x83n });
  table(0x4000n, { 1: 0x5000n | 3n });
  table(0x5000n, { 0: 0x7000n | (1n << 63n) | 3n, 1: 0x9000n | 3n });
  const physical = {
    size: 1 << 24,
    read: async (address: bigint, length: number) => {
      const frame = frames.get(address & ~4095n);
      if (frame) return frame.slice(Number(address & 4095n), Number(address & 4095n) + length);
      return new Uint8Array(length).map(
        (_, i) => Number((address + BigInt(i)) & 0xffn) ^ Number(address >> 20n),
      );
    },
  };
  const memory = walkedMemory(physical, 0x1000n);

  it("lead to large and small pages, and across them", async () => {
    expect(await memory.read(0xffff_ffff_8112_3456n, 4)).toEqual(await physical.read(0x72_3456n, 4));
    const across = await memory.read(0xffff_ffff_c020_0ffen, 4);
    expect([...across!]).toEqual([
      ...(await physical.read(0x7ffen, 2))!,
      ...(await physical.read(0x9000n, 2))!,
    ]);
  });

  it("give nothing for what is not mapped, wholly or in part", async () => {
    expect(await memory.read(0x40_0000n, 8)).toBeUndefined();
    expect(await memory.read(0xffff_ffff_c020_1ffcn, 8)).toBeUndefined();
    expect(await memory.read(0xffff_ffff_ffff_fffen, 8)).toBeUndefined();
  });
});
