import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestAddress, icount } from "../../src/base/units.js";
import type { BranchRecord } from "../../src/formats/branch.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { PluginChannel, pluginArguments, pluginChannels } from "../../src/qemu/plugin-channel.js";
import { Session } from "../../src/replay/session/session.js";
import { Tape } from "../../src/tape/tape.js";
import { BranchLog } from "../../src/trace/branch-log.js";
import { collectTrace } from "../../src/trace/collect.js";
import { isBefore, recordsOf } from "../formats/branch-samples.js";
import { buildGuest, guestLabels } from "../guests/build.js";
import { sharedCache, Workbench } from "../workbench.js";

// The plugin's counts at a stop, where the step in progress is explained without the block that comes next, against
// its log of the same instants. The plugin itself ends QEMU when its count of instructions is not QEMU's own.
const names = ["exceptions", "transfers", "user"];

describe("at every instant of a tiny guest's window", () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.make();
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  test.each(names)("a stop has the brctr that the log says: %s", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await bench.json(["record", name, "--kernel", guest.kernel, "--memory", "64"]);
    const tape = await Tape.open(bench.places, name);
    const { VMTAPE_TEST_QEMU: path } = process.env;
    const qemu = path === undefined ? {} : { qemu: [path] };
    const plugin = await buildPlugin({
      cacheDir: sharedCache,
      qemuVersion: tape.manifest.qemu.version,
    });
    const output = bench.path(`${name}.branches`);
    const start = { at: "address", address: guestAddress(labels.get("window_begin")!) } as const;
    const end = { at: "address", address: guestAddress(labels.get("window_end")!) } as const;
    const traced = await collectTrace(tape, { start, end }, { plugin, output, ...qemu });
    const records = await read(output);
    const counted = await collectTrace(tape, { start, end }, { plugin, ...qemu });
    expect(counted).toMatchObject({
      start: traced.start,
      end: traced.end,
      records: traced.records,
      bytes: 0,
    });

    await using session = await Session.create(tape, {
      ...qemu,
      attach: { extra: pluginArguments(plugin) },
      channels: pluginChannels,
    });
    await session.start();
    const channel = new PluginChannel(session.channels);
    await channel.start();
    for (let at = traced.start.icount; at <= traced.end.icount; at = icount(at + 1n)) {
      await session.runTo(at);
      const where = await channel.where();
      const before = records.filter((record) => isBefore(record, at)).length;
      expect([where.icount, where.brctr - where.delivered]).toEqual([
        at,
        traced.start.brctr + BigInt(before),
      ]);
    }
  });
});

async function read(path: string): Promise<BranchRecord[]> {
  await using log = await BranchLog.open(path);
  const records: BranchRecord[] = [];
  for await (const batch of log.batches()) records.push(...recordsOf(batch));
  return records;
}
