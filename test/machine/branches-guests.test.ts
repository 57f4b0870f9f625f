import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { icount } from "../../src/base/units.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { Tape } from "../../src/tape/tape.js";
import { BranchLog } from "../../src/trace/branch-log.js";
import { collectTrace } from "../../src/trace/collect.js";
import { branchGuests, buildGuest, expectedBranches, guestLabels } from "../guests/build.js";
import type { BranchRecord } from "../oracle/branch-record.js";
import { compareLogs, showMismatch } from "../oracle/compare.js";
import { checkLog, parseExpectedLog } from "../oracle/expected-log.js";
import { SingleStepper } from "../oracle/single-step.js";
import { Workbench } from "../workbench.js";

// Each tiny guest is recorded and traced as a user would, and judged twice: by single-stepping the same tape, and
// by the log written beside the guest.
const names = await branchGuests();
/** How much more than the guest's window is traced, so that no record of it can hide behind the edge. */
const margin = 5000n;

describe("the branch log of a tiny guest is exact", () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.make();
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  test.each(names)("%s", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await bench.json(["record", name, "--kernel", guest.kernel, "--memory", "64"]);
    const { replayCommand } = await bench.json<{ replayCommand: string[] }>(["info", name]);
    await using stepper = await SingleStepper.start(replayCommand);
    const begin = { address: labels.get("window_begin")! };
    const stepped = await stepper.step(begin, { address: labels.get("window_end")! });
    expect(stepped.doubts).toEqual([]);

    const tape = await Tape.open(bench.places, name);
    const cacheDir = bench.places.cache;
    const plugin = await buildPlugin({ cacheDir, qemuVersion: tape.manifest.qemu.version });
    const output = bench.path(`${name}.branches`);
    const start = { at: "icount", icount: icount(BigInt(stepped.from) - margin) } as const;
    await collectTrace(
      tape,
      { start, end: { at: "icount", icount: icount(BigInt(stepped.to)) } },
      { plugin, output },
    );
    const records = await readBetween(output, stepped.from, stepped.to);

    expect(compareLogs(stepped.records, records).slice(0, 20).map(showMismatch)).toEqual([]);
    const log = parseExpectedLog(await expectedBranches(name), labels);
    expect(checkLog(records, log, labels)).toBeUndefined();
  });
});

/** The records that leave from the instants `from` to `to`; nothing is delivered at either. */
async function readBetween(file: string, from: number, to: number): Promise<BranchRecord[]> {
  await using log = await BranchLog.open(file);
  const records: BranchRecord[] = [];
  for await (const batch of log.batches({ fromIcount: from, toIcount: to })) {
    for (let i = 0; i < batch.length; i++) {
      const { from, to, kind, icount } = batch.record(i);
      if (kind === "unknown" || icount === undefined) throw new Error("the log has a record of no kind");
      records.push({ from, to, kind, icount: Number(icount) });
    }
  }
  return records;
}
