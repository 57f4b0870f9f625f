import { describe, expect, test } from "vitest";
import { Progress } from "../../src/cli/shell/progress.js";

/** A stage whose clock is turned by hand. */
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
  /** Work of so many seconds, told ten times a second. */
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
