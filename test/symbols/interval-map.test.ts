import fc from "fast-check";
import { expect, it } from "vitest";
import { buildAddressIndex, indexedSymbolAt } from "../../src/symbols/tables/address-index.js";
import { IntervalBuilder, type IntervalMap, overlay, placed } from "../../src/symbols/tables/interval-map.js";
import { symbolAt } from "./symbol-at.js";

const anyMap = fc
  .array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -1, max: 5 })), { maxLength: 12 })
  .map((steps): IntervalMap => {
    const builder = new IntervalBuilder(1);
    for (const [start, symbol] of steps.sort(([a], [b]) => a - b)) builder.from(start, symbol);
    return builder.build();
  });
const addresses = Array.from({ length: 130 }, (_, i) => i - 65);

/** The obvious search. */
function slowSymbolAt(map: IntervalMap, key: number): number {
  let found = -1;
  map.starts.forEach((start, i) => {
    if (start <= key) found = map.symbols[i]!;
  });
  return found;
}

it("finds the interval of an address", () => {
  fc.assert(
    fc.property(anyMap, (map) => {
      expect(addresses.map((key) => symbolAt(map, key))).toEqual(
        addresses.map((key) => slowSymbolAt(map, key)),
      );
    }),
  );
});

it("finds the same with an index, near and far", () => {
  // Steps of 300 kB, so that some starts share a page's neighbourhood and some are clusters apart.
  const anyWideMap = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.nat(9000), fc.integer({ min: -1, max: 5 })), {
      maxLength: 30,
    })
    .map((steps): IntervalMap => {
      const builder = new IntervalBuilder();
      const starts = steps.map(
        ([step, more, symbol]) => [step * 300_000 - 4_000_000 + more, symbol] as const,
      );
      for (const [start, symbol] of starts.sort(([a], [b]) => a - b)) builder.from(start, symbol);
      return builder.build();
    });
  fc.assert(
    fc.property(anyWideMap, fc.array(fc.integer({ min: -5_000_000, max: 9_000_000 })), (map, far) => {
      const index = buildAddressIndex(map);
      const near = Array.from(map.starts).flatMap((start) => [start - 1, start, start + 1, start + 4096]);
      const keys = [...near, ...far];
      expect(keys.map((key) => indexedSymbolAt(index, key))).toEqual(
        keys.map((key) => slowSymbolAt(map, key)),
      );
    }),
    { numRuns: 300 },
  );
});

it("overlays two maps, the first one winning", () => {
  fc.assert(
    fc.property(anyMap, anyMap, (first, second) => {
      const both = overlay(first, second);
      const slow = addresses.map((key) => {
        const winner = symbolAt(first, key);
        return winner >= 0 ? winner : symbolAt(second, key);
      });
      expect(addresses.map((key) => symbolAt(both, key))).toEqual(slow);
    }),
  );
});

it("moves, renumbers and cuts a map", () => {
  fc.assert(
    fc.property(
      anyMap,
      fc.integer({ min: -10, max: 10 }),
      fc.integer({ min: -60, max: 60 }),
      fc.nat(40),
      (map, bias, low, width) => {
        const moved = placed(map, bias, 100, low, low + width);
        const slow = addresses.map((key) => {
          const symbol = key < low || key > low + width ? -1 : symbolAt(map, key - bias);
          return symbol < 0 ? -1 : symbol + 100;
        });
        expect(addresses.map((key) => symbolAt(moved, key))).toEqual(slow);
      },
    ),
  );
});
