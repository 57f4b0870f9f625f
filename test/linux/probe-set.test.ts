import { expect, test } from "vitest";
import { ProbeSet } from "../../src/linux/pass/probe-set.js";
import type { ProbeChannel, ProbeOptions, ProbePlace } from "../../src/qemu/probe-channel.js";

const place: ProbePlace = { at: "execute", address: 1n as never };

/** A plugin that refuses an id that is taken, as the real one does. */
function channel() {
  const set = new Map<number, ProbeOptions>();
  let next = 1;
  const one = {
    takeId: () => next++,
    place: async (id: number, _place: ProbePlace, options: ProbeOptions) => {
      if (set.has(id)) throw new Error(`${id} is taken`);
      set.set(id, options);
    },
  };
  return { probes: one as unknown as ProbeChannel, set };
}

test("sets of one channel have ids of their own, and each knows its hits alone", async () => {
  const { probes, set } = channel();
  const [letters, numbers] = [new ProbeSet<string>(), new ProbeSet<number>()];
  await letters.place(probes, "a", place);
  await numbers.place(probes, 1, place, { stop: true });
  await letters.place(probes, "b", place);
  expect([...set.keys()]).toEqual([1, 2, 3]);
  expect([1, 2, 3, 4].map((id) => letters.meaningOf(id))).toEqual(["a", undefined, "b", undefined]);
  expect([1, 2, 3, 4].map((id) => numbers.meaningOf(id))).toEqual([undefined, 1, undefined, undefined]);
  expect(set.get(2)).toEqual({ stop: true });
});

test("one meaning may have many probes", async () => {
  const { probes } = channel();
  const one = new ProbeSet<string>();
  for (let i = 0; i < 300; i++) await one.place(probes, i % 2 ? "odd" : "even", place);
  expect(one.meaningOf(300)).toBe("odd");
});
