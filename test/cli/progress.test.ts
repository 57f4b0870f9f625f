import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Progress } from "../../src/cli/shell/progress.js";
import { withoutProgress } from "../workbench.js";

/** A stage whose clock the test sets. */
function stage(isTTY: boolean) {
  const state = { ms: 0, written: [] as { at: number; text: string }[] };
  const stream = {
    isTTY,
    write: (text: string | Uint8Array) => {
      state.written.push({ at: state.ms / 1000, text: String(text) });
      return true;
    },
  };
  const progress = new Progress({ stream, now: () => state.ms });
  /** Work of so many seconds, which is reported ten times a second. */
  const work = (seconds: number, doing = "replaying") => {
    for (let i = 0; i < seconds * 10; i++) {
      state.ms += 100;
      progress.sink({ doing, done: state.ms, total: 1e7, unit: "instructions" });
    }
  };
  return { state, progress, work };
}

describe("without a terminal", () => {
  test("lines come at growing distances, one each, without a bar", () => {
    const { state, work } = stage(false);
    work(300);
    expect(state.written.map(({ at }) => at)).toEqual([5, 10, 20, 50, 110, 170, 230, 290]);
    for (const { text } of state.written) expect(text).toMatch(/^replaying: +\d+ % {2}[^█░\p{Cc}]*\n$/u);
  });

  test("the distances go on growing from one part of the work to the next", () => {
    const { state, work } = stage(false);
    for (let part = 0; part < 100; part++) work(3, `part ${part}`);
    expect(state.written.length).toBeLessThanOrEqual(8);
  });

  test("each is of the one shape that other tests take away, and nothing else is", () => {
    const doing = fc.constantFrom("replaying", "narrowing down", "downloading linux-image-6.1.0-9-amd64");
    const unit = fc.constantFrom("instructions", "bytes", "steps");
    const amount = fc.oneof(fc.nat(2000), fc.integer({ min: 0, max: 9e14 }));
    const report = fc.record({ doing, unit, done: amount, total: fc.option(amount, { nil: undefined }) });
    fc.assert(
      fc.property(report, fc.integer({ min: 5000, max: 1e7 }), ({ total, ...rest }, ms) => {
        const { state, progress } = stage(false);
        state.ms = ms;
        progress.sink({ ...rest, ...(total !== undefined && { total }) });
        const line = state.written[0]!.text;
        expect(line).toMatch(/^[^\n]+\n$/);
        expect(line).not.toContain("e+");
        expect(withoutProgress(`a sentence\n${line}vmtape: another\n`)).toBe("a sentence\nvmtape: another\n");
      }),
      { examples: [[{ doing: "replaying", unit: "bytes", done: 999_700, total: undefined }, 1_000_000]] },
    );
    for (const line of ["vmtape: no space left\n", "t: 3 records\n", "replaying: stopped at 3/s\n"])
      expect(withoutProgress(line)).toBe(line);
  });

  test("short work prints none", () => {
    const { state, progress, work } = stage(false);
    work(4.9);
    progress[Symbol.dispose]();
    expect(state.written).toEqual([]);
  });
});

test("on a terminal a bar is drawn over itself, and goes", () => {
  const { state, progress, work } = stage(true);
  work(2);
  expect(state.written.length).toBe(20);
  for (const { text } of state.written) {
    expect(text.startsWith("\r\x1b[K")).toBe(true);
    expect(text).toMatch(/replaying: .*░.*left$/);
  }
  progress.silence();
  expect(state.written.at(-1)?.text).toBe("\r\x1b[K");
  work(1);
  expect(state.written.length).toBe(21);
});
