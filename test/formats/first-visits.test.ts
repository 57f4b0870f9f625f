/** First visits: written by the plugin's rules, read back, found. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeFirstVisits,
  encodeFirstVisits,
  type FirstVisits,
  firstVisit,
} from "../../src/formats/first-visits.js";

const log = "5".repeat(64);

interface Stretch {
  readonly icount: number;
  readonly address: bigint;
  readonly sizes: readonly number[];
}

/** Encodes stretches as docs/FORMATS.md describes. */
function encodeStretches(stretches: readonly Stretch[]): Uint8Array {
  const bytes: number[] = [];
  const number = (value: bigint) => {
    let rest = value;
    for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    bytes.push(Number(rest));
  };
  let icount = 0;
  let end = 0n;
  for (const { icount: at, address, sizes } of stretches) {
    number(BigInt(at - icount));
    const distance = BigInt.asIntN(64, address - end);
    number(BigInt.asUintN(64, distance < 0n ? -2n * distance - 1n : 2n * distance));
    number(BigInt(sizes.length));
    for (let i = 0; i < sizes.length; i += 2) bytes.push(sizes[i]! | ((sizes[i + 1] ?? 0) << 4));
    icount = at;
    end = BigInt.asUintN(64, address + BigInt(sizes.reduce((sum, size) => sum + size, 0)));
  }
  return Uint8Array.from(bytes);
}

const stretch = fc.record({
  later: fc.oneof(
    fc.integer({ min: 40, max: 100 }),
    fc.integer({ min: 40, max: 2 ** 31 }),
    fc.constant(2 ** 40),
  ),
  address: fc.oneof(
    fc.bigInt(0x400000n, 0x400100n),
    fc.bigInt(0xffff_ffff_8100_0000n, 0xffff_ffff_8100_0100n),
    fc.bigInt(0n, 2n ** 64n - 1000n),
  ),
  sizes: fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1, maxLength: 40 }),
});

test("an instruction is found at its earliest icount, and nothing else is", () => {
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 40 }), fc.bigInt(0n, 2n ** 64n - 1n), (made, elsewhere) => {
      let icount = 0;
      const stretches = made.map(({ later, address, sizes }) => {
        icount += later;
        return { icount, address, sizes };
      });
      const expected = new Map<bigint, number>();
      for (const { icount: at, address, sizes } of stretches) {
        let place = address;
        for (const [i, size] of sizes.entries()) {
          expected.set(place, Math.min(expected.get(place) ?? Number.POSITIVE_INFINITY, at + i));
          place = BigInt.asUintN(64, place + BigInt(size));
        }
      }
      const passes = [{ stretches: encodeStretches(stretches) }, { stretches: new Uint8Array() }];
      for (const [place, at] of expected) expect(firstVisit({ passes }, place)).toBe(at);
      for (const place of [...[...expected.keys()].map((one) => one + 1n), elsewhere])
        expect(firstVisit({ passes }, BigInt.asUintN(64, place))).toBe(
          expected.get(BigInt.asUintN(64, place)),
        );
    }),
  );
});

test("a file is read back, and one that was cut or changed is none", () => {
  const stretches = encodeStretches([{ icount: 5, address: 0xffff_ffff_8100_0000n, sizes: [3, 4, 5] }]);
  const visits: FirstVisits = {
    log,
    to: 1_000_000_007,
    isFull: true,
    passes: [{ stretches }, { stretches }],
  };
  const bytes = encodeFirstVisits(visits);
  const back = decodeFirstVisits(bytes)!;
  expect(back).toMatchObject({ log, to: 1_000_000_007, isFull: true });
  expect(back.passes.map((pass) => [...pass.stretches])).toEqual([[...stretches], [...stretches]]);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const wrong = Uint8Array.from(bytes);
      wrong[at]! ^= change;
      expect(decodeFirstVisits(wrong)).toBeUndefined();
      expect(decodeFirstVisits(bytes.subarray(0, at))).toBeUndefined();
    }),
  );
});
