import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuestMemory } from "../../src/base/guest-memory.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { kernelAddress, placementFromPhysicalMemory } from "../../src/symbols/kernel/kaslr.js";
import type { KernelSymbols } from "../../src/symbols/kernel/symbols.js";
import { makeElf, pack } from "./elf-fixture.js";
import { slideFromCalls, slideFromMemory } from "./kaslr-slides.js";

const start = 0xffff_ffff_8100_0000n;
const step = 0x20_0000n;

/** 3,000 functions at uneven distances, and the two variables the search reads. */
function makeKernel(): KernelSymbols {
  let value = start;
  let seed = 1;
  const functions = Array.from({ length: 3000 }, (_, i) => {
    const symbol = { name: `f${i}`, value, size: 16, section: ".text" };
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    value += BigInt(16 + (seed >>> 24) * 16);
    return symbol;
  });
  const data = start + 0x100_0000n;
  const elf = makeElf({
    sections: [
      { name: ".text", address: start, bytes: new Uint8Array(Number(value - start)) },
      { name: ".data", address: data, bytes: new Uint8Array(64), flags: 3 },
    ],
    symbols: [...functions, { name: "phys_base", value: data, size: 8, section: ".data", type: 1 }],
  });
  const bytes = Buffer.from("Linux version 6.1.0-fixture\n");
  return {
    table: readElfSymbols(ElfFile.open(syncBytes(elf))),
    origin: "symtab",
    banner: "",
    release: undefined,
    wordSize: 8,
    buildId: undefined,
    evidence: [{ symbol: "linux_banner", address: start + 0x80_0000n + 0x123n, bytes }],
  };
}

const kernel = makeKernel();
const functionStarts = Array.from(kernel.table.starts, (key) => BigInt.asUintN(64, BigInt(key))).slice(
  0,
  3000,
);

describe("from calls", () => {
  it("finds any slide, with user calls and some noise among them", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 480 }),
        fc.array(fc.nat(2999), { minLength: 60, maxLength: 200 }),
        fc.array(fc.bigInt({ min: 0xffff_ffff_8100_0000n, max: 0xffff_ffff_bfff_ffffn }), { maxLength: 12 }),
        (steps, called, noise) => {
          const slide = BigInt(steps) * step;
          const targets = [
            ...called.map((i) => functionStarts[i]! + slide),
            ...noise,
            0x40_1000n,
            0x7fff_0000_1000n,
          ];
          const found = slideFromCalls(BigUint64Array.from(targets), kernel);
          if (new Set(called).size < 40) return;
          expect(found?.slide).toBe(slide);
          expect(found!.matched).toBeGreaterThanOrEqual(new Set(called).size);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("says nothing when nothing stands out", () => {
    expect(slideFromCalls(new BigUint64Array(0), kernel)).toBeUndefined();
    expect(slideFromCalls(BigUint64Array.from(functionStarts.slice(0, 7)), kernel)).toBeUndefined();
    const user = new BigUint64Array(500).map((_, i) => 0x40_0000n + BigInt(i * 16));
    expect(slideFromCalls(user, kernel)).toBeUndefined();
    const elsewhere = new BigUint64Array(500).map((_, i) => start + BigInt(i * 4099));
    expect(slideFromCalls(elsewhere, kernel)).toBeUndefined();
  });
});

/** Memory with a few pieces in it; the rest is not mapped, or zero. */
function memoryOf(pieces: readonly { address: bigint; bytes: Uint8Array }[], zero: boolean): GuestMemory {
  return {
    read: async (address, length) => {
      const result = new Uint8Array(length);
      let mapped = zero;
      for (const piece of pieces) {
        const into = Number(address - piece.address);
        if (into >= 0 && into + length <= piece.bytes.length) {
          result.set(piece.bytes.subarray(into, into + length));
          mapped = true;
        }
      }
      return mapped ? result : undefined;
    },
  };
}

const banner = kernel.evidence[0]!;

describe("from memory", () => {
  it.each([0n, 1n, 61n, 440n])("finds the banner %i steps up", async (steps) => {
    const memory = memoryOf([{ address: banner.address + steps * step, bytes: banner.bytes }], false);
    expect(await slideFromMemory(memory, kernel)).toBe(steps * step);
  });

  it("finds no slide for another kernel", async () => {
    const other = Uint8Array.from(banner.bytes);
    other[0]! ^= 1;
    expect(await slideFromMemory(memoryOf([{ address: banner.address, bytes: other }], true), kernel)).toBe(
      undefined,
    );
  });

  it.each([
    [0n, 0n],
    [61n, 3n],
    [3n, 61n],
    [8n, -8n],
  ])("finds a slide of %i and a physical move of %i steps", async (slideSteps, moveSteps) => {
    const slide = slideSteps * step;
    const moved = moveSteps * step;
    const window = 0xffff_ffff_8000_0000n;
    const physBase = start + 0x100_0000n;
    const physical = memoryOf(
      [
        { address: banner.address - window + moved, bytes: banner.bytes },
        { address: physBase - window + moved, bytes: pack([moved - slide, 8]) },
      ],
      true,
    );
    const placement = await placementFromPhysicalMemory({ size: 256 << 20, read: physical.read }, kernel);
    expect(placement).toEqual({ slide, physicalOffset: moved });
  });
});

// Once task probes took a per-CPU variable for one that KASLR moves.
describe("an address while the kernel runs", () => {
  const elf = makeElf({
    sections: [
      { name: ".text", address: start, bytes: new Uint8Array(64) },
      { name: ".data..percpu.fixture", address: 0x1000n, bytes: new Uint8Array(64), flags: 3 },
    ],
    symbols: [
      { name: "moves", value: start + 16n, size: 16, section: ".text" },
      { name: "pcpu_hot", value: 0x1010n, size: 8, section: ".data..percpu.fixture", type: 1 },
      { name: "fixed", value: 0xffff_ffff_ff60_0000n, section: "ABS", type: 0 },
    ],
  });
  const table = readElfSymbols(ElfFile.open(syncBytes(elf)));

  it("is moved with the kernel, but for per-CPU and absolute symbols", () => {
    const at = (name: string) => kernelAddress(table, name, step);
    expect(at("moves")).toBe(start + 16n + step);
    expect(at("pcpu_hot")).toBe(0x1010n);
    expect(at("fixed")).toBe(0xffff_ffff_ff60_0000n);
    expect(at("nowhere")).toBeUndefined();
  });
});
