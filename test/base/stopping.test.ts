import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { contextOf, during } from "../../src/base/run-context.js";
import { linkedAbort, throwIfAborted, throwIfCancelled, whenAborted } from "../../src/base/stopping.js";

const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

test("what is linked to a signal is done once, at once when it has fired, and leaves nothing behind", () => {
  const stop = new AbortController();
  let calls = 0;
  {
    using _gone = whenAborted(stop.signal, () => calls++);
    expect(listeners(stop.signal)).toBe(1);
  }
  expect(listeners(stop.signal)).toBe(0);
  using _kept = whenAborted(stop.signal, () => calls++);
  stop.abort();
  using _late = whenAborted(stop.signal, () => calls++);
  using _none = whenAborted(undefined, () => calls++);
  expect(calls).toBe(2);
});

test("a linked controller is aborted with its signal or alone, and not after it was disposed", () => {
  const stop = new AbortController();
  const disposed = linkedAbort(stop.signal);
  disposed[Symbol.dispose]();
  using alone = linkedAbort(stop.signal);
  using linked = linkedAbort(stop.signal);
  alone.abort();
  expect([stop.signal.aborted, linked.signal.aborted]).toEqual([false, false]);
  stop.abort();
  expect([linked.signal.aborted, disposed.signal.aborted]).toEqual([true, false]);
  expect(linkedAbort(stop.signal).signal.aborted).toBe(true);
});

test("who was asked to stop throws cancelled", () => {
  expect(() => throwIfAborted(AbortSignal.abort())).toThrow(expect.objectContaining({ code: "cancelled" }));
  expect(() => throwIfCancelled({ why: "cancelled" })).toThrow(
    expect.objectContaining({ code: "cancelled" }),
  );
  throwIfAborted(undefined);
  throwIfCancelled({ why: "reached" });
});

test("a part of a job has the context, and names of its own for its progress", () => {
  const told: object[] = [];
  const { signal } = new AbortController();
  const context = { signal, qemu: ["q"], onProgress: (report: object) => told.push(report), other: 1 };
  expect(Object.keys(contextOf(context))).not.toContain("other");
  const part = during(context, "indexing", 9);
  part.onProgress?.({ doing: "replaying", done: 1, total: 5, unit: "steps" });
  expect([part.signal, part.qemu, told]).toEqual([
    signal,
    ["q"],
    [{ doing: "indexing", done: 1, total: 9, unit: "steps" }],
  ]);
  expect(during({}, "indexing").onProgress).toBeUndefined();
});
