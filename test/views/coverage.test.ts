import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BranchBatch } from "../../src/formats/branch.js";
import { CoverageBuilder } from "../../src/views/coverage-builder.js";
import { runOfBatch } from "../../src/views/transfers.js";
import { randomNumbers } from "../formats/branch-walk.js";

/** A run of one-byte instructions in two spaces and the kernel; each execution is counted, one by one. */
function walk(seed: number, steps: number) {
  const random = randomNumbers(seed + 1);
  const batch = new BranchBatch(steps);
  const counts = new Map<string, number>();
  const spaces: number[] = [];
  const kernel = 0xffff_ffff_8100_0000n;
  let space = 1;
  let at = kernel;
  let icount = 0;
  const run = () => {
    const key = `${at >= kernel ? -1 : space} ${at}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    at++;
    icount++;
  };
  for (let i = 0; i < steps; i++) {
    const isInterrupt = random(5) === 0;
    const executed = random(6) + (isInterrupt ? 0 : 1);
    // Of the stretch at the window's beginning only the last instruction is known.
    const length = i === 0 ? 1 : executed;
    for (let n = 0; n < length; n++) run();
    const from = isInterrupt && i > 0 ? at : at - 1n;
    const isKernel = at >= kernel;
    const to = (random(2) ? kernel : 0x40_0000n) + BigInt(random(40));
    spaces.push(space);
    batch.push({ from, to, kind: isInterrupt && i > 0 ? "interrupt" : "jump", icount });
    if (isKernel && to >= kernel && random(3) === 0) space = 1 + random(2);
    at = to;
  }
  run();
  return { batch, spaces, counts, end: icount };
}

describe("coverage", () => {
  test("is what one gets by counting each instruction", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 300 }), (seed, steps) => {
        const { batch, spaces, counts, end } = walk(seed, steps);
        const whole = runOfBatch(batch, 0);
        const builder = new CoverageBuilder();
        for (let i = 0; i < batch.length; i++) {
          builder.enter(spaces[i]!);
          builder.feed({ ...whole, start: i, end: i + 1 });
        }
        const coverage = builder.finish(end - batch.icount[batch.length - 1]!);
        const told = new Map<string, number>();
        for (const { space, start, end: stop, count } of coverage.ranges()) {
          for (let address = start; address < stop; address++) told.set(`${space} ${address}`, count);
        }
        expect([...told].sort()).toEqual([...counts].sort());
      }),
      { numRuns: 200 },
    );
  });

  test("takes no notice of symbols that were added and never fed", () => {
    const batch = new BranchBatch(1);
    batch.push({ from: 0x100fn, to: 0x2000n, kind: "call", icount: 1 });
    const { symbols, ...run } = runOfBatch(batch, 0);
    const growing = { ...symbols, count: 1 };
    const builder = new CoverageBuilder();
    builder.feed({ symbols: growing, ...run });
    growing.count = 100_000;
    growing.addresses = new Uint32Array(400_000);
    growing.addresses.set(symbols.addresses);
    const told = [...builder.finish(1).ranges()].map(({ start, end, count }) => [start, end, count]);
    expect(told).toEqual([
      [0x100fn, 0x1010n, 1],
      [0x2000n, 0x2001n, 1],
    ]);
  });

  test("tells pieces and lines, those that did not run as well", () => {
    const batch = new BranchBatch(3);
    batch.push({ from: 0x100fn, to: 0x2000n, kind: "call", icount: 1 });
    batch.push({ from: 0x2008n, to: 0x2000n, kind: "conditional", icount: 4 });
    batch.push({ from: 0x2008n, to: 0x1014n, kind: "return", icount: 7 });
    const builder = new CoverageBuilder();
    builder.feed(runOfBatch(batch, 0));
    const coverage = builder.finish(0);
    const piece = (name: string, start: bigint, end: bigint) => ({ name, start, end });
    const pieces = [piece("f", 0x2000n, 0x2010n), piece("g", 0x3000n, 0x3010n), piece("h", 0x1000n, 0x1020n)];
    expect(
      coverage.pieces(pieces, 0).map(({ name, entries, most, bytes }) => [name, entries, most, bytes]),
    ).toEqual([
      ["f", 2, 2, 9],
      ["g", 0, 0, 0],
      ["h", 0, 1, 1],
    ]);
    const lines = [
      { file: "a.c", line: 2, address: 0x3000n },
      { file: "a.c", line: 1, address: 0x2004n },
      { file: "a.c", line: 1, address: 0x3004n },
    ];
    expect(coverage.lines(lines, 0)).toEqual([
      { file: "a.c", line: 1, count: 2 },
      { file: "a.c", line: 2, count: 0 },
    ]);
  });
});
