import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EntryReader, type PagingMode, walkPages } from "../../src/base/x86-paging.js";

/**
 * Of each mode: the bits of an address that are the index of each table, from the root on, and the depths at which an
 * entry may be a page.
 */
const shapes = {
  "32-bit": { bits: [10, 10], bytes: 4, pages: [2, 1] },
  pae: { bits: [2, 9, 9], bytes: 8, pages: [3, 2] },
  "4-level": { bits: [9, 9, 9, 9], bytes: 8, pages: [4, 3, 2] },
  "5-level": { bits: [9, 9, 9, 9, 9], bytes: 8, pages: [5, 4, 3] },
} as const satisfies Partial<Record<PagingMode, unknown>>;
type Shape = keyof typeof shapes;

const root = 0x1000n;

/** Tables as an operating system makes them, entry by entry. */
class Machine {
  readonly entries = new Map<bigint, bigint>();
  reads = 0;
  private next = root + 0x1000n;
  private readonly shape: (typeof shapes)[Shape];

  constructor(mode: Shape) {
    this.shape = shapes[mode];
  }

  /** Maps the page of `address` by an entry of the table at `depth`; the last depth has the smallest pages. */
  map(address: bigint, depth: number, leaf: bigint, branch = 0b111n): void {
    const { bits, bytes } = this.shape;
    let table = root;
    let left = 12 + bits.reduce<number>((sum, one) => sum + one, 0);
    bits.slice(0, depth).forEach((width, i) => {
      left -= width;
      const at = table + BigInt.asUintN(width, address >> BigInt(left)) * BigInt(bytes);
      if (i === depth - 1) {
        this.entries.set(at, leaf);
        return;
      }
      const below = this.entries.get(at) ?? this.next | branch;
      if (!this.entries.has(at)) this.next += 0x1000n;
      this.entries.set(at, below);
      table = (below >> 12n) << 12n;
    });
  }

  readonly read: EntryReader = async (table, offset) => {
    this.reads++;
    return this.entries.get(table + BigInt(offset)) ?? 0n;
  };
}

const walk = (machine: Machine, mode: Shape, address: bigint, largePages = true) =>
  walkPages({ cr3: root | 0x18n, mode, largePages }, address, machine.read);

describe.each(Object.keys(shapes) as Shape[])("%s paging", (mode) => {
  const { bits, pages } = shapes[mode];
  const addressBits = 12 + bits.reduce<number>((sum, one) => sum + one, 0);
  const isWide = addressBits > 32;

  it("leads to pages of every size, whose neighbours are holes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: 0n, max: (1n << BigInt(addressBits)) - 1n }),
        fc.bigInt({ min: 0n, max: 0xfffffn }),
        fc.constantFrom(...pages),
        async (bitsOfAddress, frame, depth) => {
          const signed = isWide ? BigInt.asIntN(addressBits, bitsOfAddress) : bitsOfAddress;
          const address = BigInt.asUintN(64, signed);
          const below = bits.slice(depth).reduce<number>((sum, one) => sum + one, 0);
          const size = 1n << BigInt(12 + below);
          const isLarge = depth < bits.length;
          const page = ((frame << 12n) / size) * size;
          const machine = new Machine(mode);
          machine.map(address, depth, page | 0b011n | (isLarge ? 0x80n : 0n));
          const found = await walk(machine, mode, address);
          expect(found.page).toBe(page);
          expect(found.start).toBe((address / size) * size);
          expect(found.end - found.start).toBe(size);
          expect(found.access).toEqual({ write: true, execute: true, user: false });
          expect(machine.reads).toBe(depth);
          const next = await walk(machine, mode, BigInt.asUintN(64, address ^ size));
          expect(next.page).toBeUndefined();
          expect(next.end > (address ^ size)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("tells the entry of what is not present, and reads nothing for what is no address", async () => {
    const machine = new Machine(mode);
    machine.map(0x40_3000n, bits.length, 0xabc0n);
    expect(await walk(machine, mode, 0x40_3008n)).toMatchObject({ page: undefined, entry: 0xabc0n });
    machine.reads = 0;
    const none = isWide ? 1n << BigInt(addressBits - 1) : 1n << 32n;
    const end = isWide ? (1n << 64n) - none : 1n << 64n;
    expect(await walk(machine, mode, none)).toMatchObject({ start: none, end, page: undefined, entry: 0n });
    expect(machine.reads).toBe(0);
  });

  it("gives what all levels allow", async () => {
    const machine = new Machine(mode);
    machine.map(0x7000n, bits.length, 0x9000n | 0b111n, 0b101n);
    const { access } = await walk(machine, mode, 0x7000n);
    expect(access).toEqual({ write: false, execute: true, user: true });
  });
});

it("pages of 4 MB lie beyond 4 GB with PSE-36, and are tables where they are off", async () => {
  const machine = new Machine("32-bit");
  machine.map(0xc040_0000n, 1, 0x0080_0000n | (0x12n << 13n) | 0x83n);
  expect((await walk(machine, "32-bit", 0xc041_2345n)).page).toBe(0x12_0080_0000n);
  expect((await walk(machine, "32-bit", 0xc041_2345n, false)).page).toBeUndefined();
  expect(machine.reads).toBe(3);
});

it("without paging, addresses are their own", async () => {
  const read = async () => expect.unreachable();
  const state = { cr3: 0n, mode: "none", largePages: false } as const;
  expect(await walkPages(state, 0xfffff000n, read)).toMatchObject({ page: 0n, start: 0n, end: 1n << 32n });
});

it("a no-execute bit is no part of the frame's address, and takes execution away", async () => {
  const machine = new Machine("4-level");
  machine.map(0x7000n, 4, 0x9000n | 0b111n | (1n << 63n));
  const found = await walk(machine, "4-level", 0x7000n);
  expect([found.page, found.access?.execute]).toEqual([0x9000n, false]);
});
