import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestAddress, icount } from "../../src/base/units.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import type { PluginPoint } from "../../src/qemu/plugin-channel.js";
import { Tape } from "../../src/tape/tape.js";
import { BranchLog } from "../../src/trace/branch-log.js";
import { collectTrace } from "../../src/trace/collect.js";
import {
  branchGuests,
  buildGuest,
  expectedBranches,
  type Guest,
  guestLabels,
  unsteppable,
} from "../guests/build.js";
import type { BranchRecord } from "../oracle/branch-record.js";
import { compareLogs, showMismatch } from "../oracle/compare.js";
import { checkLog, parseExpectedLog } from "../oracle/expected-log.js";
import { SingleStepper } from "../oracle/single-step.js";
import { sharedCache, Workbench } from "../workbench.js";

// Each tiny guest is recorded and traced as a user would do it, and its trace is judged twice: by single-stepping the
// same tape, and by the log written beside the guest.
const names = (await branchGuests()).filter((name) => !unsteppable.has(name));
/**
 * How many more instructions than the guest's window are traced on each side, so that no record at its edges is
 * missed.
 */
const margin = 5000n;

describe("the branch log of a tiny guest is exact", () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.make();
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  /** Records a guest and traces it. Returns the path of the trace. */
  async function trace(guest: Guest, start: PluginPoint, end: PluginPoint): Promise<string> {
    const tape = await Tape.open(bench.places, guest.name);
    const cacheDir = sharedCache;
    const plugin = await buildPlugin({ cacheDir, qemuVersion: tape.manifest.qemu.version });
    const output = bench.path(`${guest.name}.branches`);
    const { VMTAPE_TEST_QEMU: qemu } = process.env;
    await collectTrace(tape, { start, end }, { plugin, output, ...(qemu && { qemu: [qemu] }) });
    return output;
  }

  test.each(names)("%s", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await bench.json(["record", name, "--kernel", guest.kernel, "--memory", "64"]);
    const { replayCommand } = await bench.json<{ replayCommand: string[] }>(["info", name]);
    await using stepper = await SingleStepper.start(replayCommand);
    const begin = { address: labels.get("window_begin")! };
    const stepped = await stepper.step(begin, { address: labels.get("window_end")! });
    expect(stepped.doubts).toEqual([]);

    const output = await trace(
      guest,
      { at: "icount", icount: icount(BigInt(stepped.from) - margin) },
      { at: "icount", icount: icount(BigInt(stepped.to)) },
    );
    const records = await readBetween(output, stepped.from, stepped.to);
    expect(compareLogs(stepped.records, records).slice(0, 20).map(showMismatch)).toEqual([]);
    const log = parseExpectedLog(await expectedBranches(name), labels);
    expect(checkLog(records, log, labels)).toBeUndefined();
  });

  test.each([...unsteppable])("%s, by the log beside it alone", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await bench.json(["record", name, "--kernel", guest.kernel, "--memory", "64"]);
    const output = await trace(
      guest,
      { at: "address", address: guestAddress(labels.get("window_begin")!) },
      { at: "address", address: guestAddress(labels.get("window_end")!) },
    );
    const log = parseExpectedLog(await expectedBranches(name), labels);
    expect(checkLog(await readBetween(output, 0, Number.MAX_SAFE_INTEGER), log, labels)).toBeUndefined();
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
