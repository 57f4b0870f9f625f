import fc from "fast-check";
import { expect, test } from "vitest";
import { OpenCalls } from "../../src/linux/probe/calls.js";

const call = (watch: string, slot: bigint, returnTo: bigint, icount = 0n, owner = "a") => ({
  watch,
  slot,
  returnTo,
  icount,
  owner,
});
const names = (returned: readonly { watch: string; isCertain: boolean }[]) =>
  returned.map(({ watch, isCertain }) => (isCertain ? watch : `${watch}?`));

test("all probes of one function are told its return, the last set first", () => {
  const calls = new OpenCalls<string>();
  calls.enter("", call("first", 0x100n, 0x42n));
  calls.enter("", call("second", 0x100n, 0x42n));
  expect(calls.leave("", 0x42n, 0x100n)).toEqual([]); // not the stack pointer with which it returns
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual(["second", "first"]);
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual([]);
});

test("each level of a recursion returns once, from its own depth", () => {
  const calls = new OpenCalls<string>();
  for (const depth of [3n, 2n, 1n]) calls.enter("", call("f", depth * 0x40n, 0x42n, depth));
  const icounts = [1n, 2n, 3n].map((depth) => calls.leave("", 0x42n, depth * 0x40n + 8n)[0]?.icount);
  expect(icounts).toEqual([1n, 2n, 3n]);
});

test("a function that ends in a jump to another returns with it", () => {
  const calls = new OpenCalls<string>();
  calls.enter("", call("outer", 0x100n, 0x42n));
  calls.enter("", call("tail", 0x100n, 0x42n));
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual(["tail", "outer"]);
});

test("a call that was left by longjmp is never told to return with certainty", () => {
  const calls = new OpenCalls<string>();
  calls.enter("", call("f", 0x100n, 0x42n, 1n));
  calls.enter("", call("f", 0x100n, 0x42n, 2n)); // left, and called again from the same place
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual(["f", "f?"]);
  calls.enter("", call("f", 0x100n, 0x42n, 3n));
  calls.enter("", call("g", 0x100n, 0x99n, 4n)); // left, and another called from elsewhere
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual([]);
  expect(names(calls.leave("", 0x99n, 0x108n))).toEqual(["g"]);
  expect([calls.lost, calls.size]).toEqual([1, 0]);
});

test("a stack that another task has got holds none of the one before", () => {
  const calls = new OpenCalls<string>();
  calls.enter("", call("f", 0x100n, 0x42n, 1n, "dead"));
  calls.enter("", call("f", 0x100n, 0x42n, 2n, "new"));
  expect(names(calls.leave("", 0x42n, 0x108n))).toEqual(["f"]);
  expect(calls.lost).toBe(1);
});

test("calls and returns that nest are paired as a stack of them pairs them", () => {
  const programs = fc.array(fc.nat(3), { maxLength: 60 });
  fc.assert(
    fc.property(programs, (steps) => {
      const calls = new OpenCalls<string>();
      const plain: { slot: bigint; returnTo: bigint; icount: bigint }[] = [];
      for (const [i, step] of steps.entries()) {
        const icount = BigInt(i);
        const top = plain.at(-1);
        if (step > 0) {
          const frame = { slot: (top?.slot ?? 0x1000n) - 16n * BigInt(step), returnTo: BigInt(step), icount };
          plain.push(frame);
          calls.enter("", { watch: "f", owner: "a", ...frame });
        } else if (top) {
          plain.pop();
          const returned = calls.leave("", top.returnTo, top.slot + 8n);
          expect(returned).toMatchObject([{ icount: top.icount, isCertain: true }]);
        }
      }
      expect(calls.size).toBe(plain.length);
    }),
  );
});
