import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesSource } from "../../src/base/byte-source.js";
import { VmtapeError } from "../../src/base/errors.js";
import { dialect71, dialect72, type ReplayLogDialect } from "../../src/formats/replay-log-dialect.js";
import type { EventBody, ReplayEvent } from "../../src/formats/replay-log-event.js";
import { readReplayLog } from "../../src/formats/replay-log-reader.js";
import {
  planRepair,
  type RepairPlan,
  repairedTail,
  repairHeader,
} from "../../src/formats/replay-log-repair.js";
import { summarizeLog } from "../../src/formats/replay-log-summary.js";
import { goldenLogs } from "./replay-log-golden.js";
import { anyEvent, makeLog, payload } from "./replay-log-samples.js";

const events = async (log: Uint8Array, dialect: ReplayLogDialect) => {
  const all: ReplayEvent[] = [];
  for await (const event of readReplayLog(bytesSource(log), dialect)) all.push(event);
  return all;
};

function repaired(log: Uint8Array, plan: RepairPlan, dialect: ReplayLogDialect): Uint8Array {
  const head = Buffer.alloc(Math.max(12, plan.keep));
  head.set(log.subarray(0, plan.keep));
  head.set(repairHeader());
  return Buffer.concat([head, repairedTail(plan, dialect)]);
}

/** The events to which a log that was cut to `whole` should be repaired: a literal version of the rule. */
function expected(whole: readonly EventBody[], next: EventBody | undefined): EventBody[] {
  const end: EventBody = { kind: "end" };
  const stop: EventBody = { kind: "shutdown", cause: "host-signal" };
  if (whole.at(-1)?.kind === "end") return [...whole];
  const refused = whole.findIndex((event) => event.kind === "char-write" && event.result < 0);
  if (refused >= 0) return expected(whole.slice(0, refused), undefined);
  const mark = whole.map(({ kind }) => kind === "instruction" || kind === "shutdown").lastIndexOf(true);
  if (mark >= 0 && next?.kind === "instruction") return [...whole, stop, end];
  const last = whole[mark];
  if (last === undefined) return [stop, end];
  if (last.kind === "shutdown") return [...whole.slice(0, mark + 1), end];
  const count = last.kind === "instruction" ? last.count - 1 : 0;
  const shortened: EventBody[] = count > 0 ? [{ kind: "instruction", count }] : [];
  return [...whole.slice(0, mark), ...shortened, stop, end];
}

const bodies = (list: readonly ReplayEvent[]) =>
  list.map(({ index: _i, offset: _o, length: _l, icount: _c, ...body }) => body as EventBody);

/** Checks everything that a plan promises for a log that was cut at `cut`. Returns the plan. */
async function checkCut(
  log: Uint8Array,
  all: readonly ReplayEvent[],
  cut: number,
  dialect: ReplayLogDialect,
) {
  const part = log.slice(0, cut);
  const plan = await planRepair(bytesSource(part), dialect);
  const fixed = await events(repaired(part, plan, dialect), dialect);
  const whole = all.filter(({ offset, length }) => offset + length <= cut);
  const next = all[whole.length];
  const begun = next && next.offset < cut ? next : undefined;
  expect(bodies(fixed)).toEqual(expected(bodies(whole), begun));
  expect(plan.icount).toBe(fixed.at(-1)!.icount);
  expect(
    plan.keep <= cut &&
      (cut < 12 || plan.keep === 12 || all.some((e) => e.offset === plan.keep) || plan.keep === log.length),
  ).toBe(true);
  const console = fixed.reduce((sum, e) => sum + (e.kind === "char-write" ? BigInt(e.written) : 0n), 0n);
  expect(plan.consoleBytes).toBe(console);
  expect(plan.droppedBytes).toBe(cut - plan.keep);
  expect(plan.droppedEvents).toBe(whole.length - plan.events - (plan.run > 0 ? 1 : 0));
  return plan;
}

describe("planning a repair", () => {
  test("any events, cut at every byte: the rule, and a longer cut is never worse", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEvent, { maxLength: 12 }),
        fc.constantFrom(dialect71, dialect72),
        async (list, dialect) => {
          const log = makeLog([...list, { kind: "end" }], dialect);
          const all = await events(log, dialect);
          let before: RepairPlan | undefined;
          for (let cut = 12; cut <= log.length; cut++) {
            const plan = await checkCut(log, all, cut, dialect);
            if (before) {
              expect(plan.keep).toBeGreaterThanOrEqual(before.keep);
              expect(plan.icount >= before.icount).toBe(true);
              expect(plan.consoleBytes >= before.consoleBytes).toBe(true);
            }
            before = plan;
          }
          expect(before).toMatchObject({ action: "whole", droppedBytes: 0 });
        },
      ),
      { numRuns: 40 },
    );
  });

  test.each(goldenLogs)("$name: a real recording cut at every byte", async ({ log }) => {
    const bytes = log();
    const all = await events(bytes, dialect72);
    const offsets = new Set(all.map(({ offset }) => offset));
    let before: RepairPlan | undefined;
    for (let cut = 0; cut <= bytes.length; cut++) {
      const part = bytes.subarray(0, cut);
      // The log of a killed QEMU has no version word.
      const killed =
        cut < bytes.length ? Buffer.concat([Buffer.alloc(Math.min(4, cut)), part.subarray(4)]) : part;
      const plan = await planRepair(bytesSource(killed), dialect72);
      if (cut >= 12) expect(offsets.has(plan.keep) || plan.keep === bytes.length).toBe(true);
      expect(plan.keep).toBeGreaterThanOrEqual(before?.keep ?? 0);
      expect(plan.icount >= (before?.icount ?? 0n)).toBe(true);
      before = plan;
      if (cut % 97 !== 0) continue;
      const fixed = repaired(killed, plan, dialect72);
      const summary = await summarizeLog(bytesSource(fixed), dialect72);
      expect(summary).toMatchObject({ state: "whole", icount: plan.icount, consoleBytes: plan.consoleBytes });
    }
    expect(before).toMatchObject({ action: "whole", headerMissing: false, endMissing: false });
  });

  const start: EventBody[] = [
    { kind: "clock-host", ns: 5n },
    { kind: "instruction", count: 100 },
    { kind: "char-write", result: 1, written: 1 },
  ];

  test("the end is what QEMU writes at a clean exit", async () => {
    const log = makeLog(start, dialect72, 0);
    const plan = await planRepair(bytesSource(log), dialect72);
    expect(plan).toMatchObject({
      action: "tail",
      keep: 21,
      run: 99,
      icount: 99n,
      consoleBytes: 0n,
      events: 1,
    });
    expect(plan).toMatchObject({ headerMissing: true, endMissing: true, droppedEvents: 1 });
    expect(plan.fault?.code).toBe("bad-log");
    // instruction 99, shutdown host-signal (10 + 4), end (39)
    expect(Buffer.from(repairedTail(plan, dialect72)).toString("hex")).toBe("00000000630e27");
    expect(Buffer.from(repairHeader()).toString("hex")).toBe("00e0200c0000000000000000");
  });

  test("an end without a version word needs only the word", async () => {
    const log = makeLog([...start, { kind: "end" }], dialect72, 0);
    const plan = await planRepair(bytesSource(log), dialect72);
    expect(plan).toMatchObject({ action: "header", keep: log.length, droppedBytes: 0, consoleBytes: 1n });
    expect(repairedTail(plan, dialect72).length).toBe(0);
  });

  test("a version word without an end does not make a log whole (a full disk)", async () => {
    const plan = await planRepair(bytesSource(makeLog(start, dialect72)), dialect72);
    expect(plan).toMatchObject({ action: "tail", headerMissing: false, endMissing: true });
  });

  test("bytes after the end are dropped", async () => {
    const log = makeLog([...start, { kind: "end" }], dialect72);
    const plan = await planRepair(bytesSource(Buffer.concat([log, Buffer.from("junk")])), dialect72);
    expect(plan).toMatchObject({ action: "tail", keep: log.length, droppedBytes: 4, endMissing: false });
    expect(repairedTail(plan, dialect72).length).toBe(0);
  });

  test("bytes that are no event end the log there", async () => {
    const log = makeLog([...start, { kind: "random", result: 0, data: payload(1) }], dialect72);
    const plan = await planRepair(bytesSource(Buffer.concat([log, Buffer.from([0xff, 0xff])])), dialect72);
    expect(plan).toMatchObject({ keep: 21, run: 99, ending: { state: "damaged", offset: log.length } });
  });

  test("another version is refused, abort is kept", async () => {
    const other = planRepair(bytesSource(makeLog(start, dialect72, 0xe0200d)), dialect72);
    await expect(other).rejects.toBeInstanceOf(VmtapeError);
    const stopped = planRepair(bytesSource(makeLog(start, dialect72)), dialect72, {
      signal: AbortSignal.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: "cancelled" });
  });
});
