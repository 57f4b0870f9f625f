import fc from "fast-check";
import { expect, test } from "vitest";
import { branchKindCodes } from "../../src/formats/branch.js";
import { CallTracker } from "../../src/trace/calls.js";
import { taskTrace } from "./call-tasks.js";

test("what is not marked as a guess is what happened: tasks, levels, in any order of things", () => {
  let certain = 0;
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 10, max: 600 }), (seed, steps) => {
      const { batch, functions, truth } = taskTrace(seed, steps);
      const taskOfStack = new Map<number, number>();
      const seen = new Set<number>();
      const tracker = new CallTracker((event) => {
        const really = truth.get(event.brctr);
        seen.add(event.brctr);
        if (event.guess || !really) return;
        certain++;
        expect(event.depth, `depth at ${event.brctr}`).toBe(really.depth);
        if (!taskOfStack.has(event.stack)) taskOfStack.set(event.stack, really.task);
        expect(taskOfStack.get(event.stack), `task at ${event.brctr}`).toBe(really.task);
      }, functions);
      tracker.feed(batch);
      for (const place of truth.keys()) {
        // An iret to a near address that fits no entry, as after a wrong guess, is taken for one that only
        // serializes.
        if (batch.kind[place] === branchKindCodes.iret) continue;
        expect(seen.has(place), `record ${place} is told`).toBe(true);
      }
    }),
    { numRuns: 80 },
  );
  // Not all events may be guesses: of some 30,000, about half are certain.
  expect(certain).toBeGreaterThan(5_000);
}, 60_000);
