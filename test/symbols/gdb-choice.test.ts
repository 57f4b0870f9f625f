import fc from "fast-check";
import { expect, it } from "vitest";
import { type ChoiceInput, chooseLikeGdb } from "../../src/symbols/elf/gdb-choice.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import { symbolAt } from "./symbol-at.js";

interface Symbol {
  readonly name: string;
  readonly start: number;
  readonly size: number;
  readonly isGlobal: boolean;
  readonly region: number;
}

const regions = [
  { start: 10, end: 60 },
  { start: 60, end: 90 },
];

/** GDB's own way, one address at a time: a transcription of the loop in lookup_minimal_symbol_by_pc_section. */
function slowAnswer(symbols: readonly Symbol[], address: number): number {
  const region = regions.findIndex(({ start, end }) => address >= start && address < end);
  if (region < 0) return -1;
  const order = symbols
    .map((_, i) => i)
    .filter((i) => symbols[i]!.region === region)
    .sort(
      (a, b) =>
        symbols[a]!.start - symbols[b]!.start ||
        Buffer.compare(Buffer.from(symbols[a]!.name), Buffer.from(symbols[b]!.name)) ||
        a - b,
    );
  const at = (i: number) => symbols[order[i]!]!;
  let hi = -1;
  for (let i = 0; i < order.length; i++) if (at(i).start <= address) hi = i;
  let bestZeroSized = -1;
  while (hi >= 0) {
    const beside = hi > 0 ? at(hi - 1) : undefined;
    const same = beside && beside.start === at(hi).start && beside.size === at(hi).size;
    if (same && beside.isGlobal && !at(hi).isGlobal) {
      hi--;
      continue;
    }
    if (at(hi).size === 0) {
      if (bestZeroSized === -1) bestZeroSized = hi;
      hi--;
      continue;
    }
    if (beside && address >= at(hi).start + at(hi).size && address < beside.start + beside.size) {
      hi--;
      continue;
    }
    break;
  }
  if (bestZeroSized !== -1 && (hi < 0 || at(hi).size === 0)) hi = bestZeroSized;
  if (hi >= 0 && at(hi).size !== 0 && address >= at(hi).start + at(hi).size) hi = bestZeroSized;
  return hi < 0 ? -1 : order[hi]!;
}

function inputOf(symbols: readonly Symbol[]): ChoiceInput {
  return {
    names: NameList.from(symbols.map(({ name }) => name)),
    starts: Float64Array.from(symbols, ({ start }) => start),
    sizes: Float64Array.from(symbols, ({ size }) => size),
    globalCode: Uint8Array.from(symbols, ({ isGlobal }) => (isGlobal ? 1 : 0)),
    regionOf: Int32Array.from(symbols, ({ region }) => region),
    regionEnds: Float64Array.from(regions, ({ end }) => end),
  };
}

const anySymbols = fc.array(
  fc
    .record({
      name: fc.constantFrom("a", "b", "_b", "B", "ab", "abc"),
      start: fc.integer({ min: 10, max: 89 }),
      size: fc.constantFrom(0, 0, 1, 3, 8, 30),
      isGlobal: fc.boolean(),
    })
    .map((symbol) => ({ ...symbol, region: symbol.start < 60 ? 0 : 1 })),
  { maxLength: 14 },
);

it("answers for every address as GDB's loop does", () => {
  fc.assert(
    fc.property(anySymbols, (symbols) => {
      const map = chooseLikeGdb(inputOf(symbols));
      // Two symbols alike in name and start are the same to a reader.
      const label = (i: number) => (i < 0 ? "-" : `${symbols[i]!.name}@${symbols[i]!.start}`);
      const addresses = Array.from({ length: 100 }, (_, address) => address);
      expect(addresses.map((address) => label(symbolAt(map, address)))).toEqual(
        addresses.map((address) => label(slowAnswer(symbols, address))),
      );
    }),
    { numRuns: 500 },
  );
});
