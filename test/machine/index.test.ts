/** An index of a tape: made, used, its maker killed, damaged, removed while it is used. */
import { readFileSync } from "node:fs";
import { open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { icount } from "../../src/base/units.js";
import { chooseQemu } from "../../src/qemu/choose.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { PluginChannel, pluginArguments, pluginChannels } from "../../src/qemu/plugin-channel.js";
import { indexTape } from "../../src/replay/index/tape.js";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import { type CountedCheckpoint, isLostCheckpoint } from "../../src/replay/session/checkpoint.js";
import { Session } from "../../src/replay/session/session.js";
import { tapeCache } from "../../src/replay/session/tape-cache.js";
import { Tape } from "../../src/tape/tape.js";
import { buildGuest } from "../guests/build.js";
import { sharedCache, until, Workbench } from "../workbench.js";

const qemu = [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"];

let bench: Workbench;
let tape: Tape;
let plugin: string;
let cache: string;
beforeAll(async () => {
  bench = await Workbench.make();
  const machine = ["--kernel", (await buildGuest("obey")).kernel, "--memory", "32"];
  const child = bench.start(["record", "t", ...machine, "-c"]);
  await child.prints("ready");
  for (let spun = 0; spun < 3; spun++) child.type("s");
  child.type("fq");
  expect((await child.ended).code).toBe(0);
  tape = await Tape.open(bench.places, "t");
  cache = tapeCache(bench.places, tape);
  plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: tape.manifest.qemu.version });
});
afterAll(() => bench[Symbol.asyncDispose]());
beforeEach(() => rm(cache, { recursive: true, force: true }));

/**
 * Removes the cache while others write into it. Files that appear in a directory that is being removed are removed,
 * too.
 */
const removeUnderUsers = () => rm(cache, { recursive: true, force: true, maxRetries: 20, retryDelay: 5 });

const index = (checkpoints: number) => indexTape(tape, { cache, plugin, qemu, checkpoints });
const built = () => chooseQemu(tape.manifest.qemu, qemu);

/** States of the machine at some instants, by a straight run. */
async function statesAt(instants: readonly bigint[]) {
  await using session = await Session.create(tape, { qemu });
  await session.start();
  const states = [];
  for (const at of instants) {
    await session.runTo(icount(at));
    states.push(await session.hashState());
  }
  return states;
}

async function stateFrom(from: CountedCheckpoint) {
  await using session = await Session.create(tape, { qemu, trusted: true, from });
  await session.start();
  return await session.hashState();
}

/** Expects that the index is undamaged by every check, and returns it. */
async function expectWhole(checkpoints: number): Promise<TapeIndex> {
  const known = await TapeIndex.open(cache, await built());
  expect(known.checkpoints).toHaveLength(checkpoints);
  expect(known.countedTo).toBe(tape.end.at);
  const { code, stdout } = await bench.run(["index", "t", "--check", "--json"]);
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { ok: true, checkpoints, problems: [] }]);
  const home = join(cache, "checkpoints", (await built()).sha256.slice(0, 16));
  expect((await readdir(home)).filter((name) => !/^\d+$/.test(name))).toEqual([]);
  return known;
}

test("leaves evenly spaced checkpoints and rows whose counts are those of a straight run", async () => {
  const made = await index(5);
  const known = await expectWhole(5);
  expect(made.checkpoints).toEqual(known.checkpoints);
  const end = Number(tape.end.at);
  for (const [i, one] of known.checkpoints.entries())
    expect(Math.abs(Number(one.icount) - ((i + 1) * end) / 6)).toBeLessThan(end / 100);
  await using session = await Session.create(tape, {
    qemu,
    attach: { extra: pluginArguments(plugin) },
    channels: pluginChannels,
  });
  await session.start();
  const channel = new PluginChannel(session.channels);
  await channel.start();
  const rows = [...known.rows()];
  expect(rows.length).toBeGreaterThan(50);
  expect(rows.at(-1)?.icount).toBe(tape.end.at);
  for (const row of rows.slice(1, -1).filter((_, i) => i % 8 === 0)) {
    await session.runTo(row.icount);
    const { brctr, delivered } = await channel.where();
    expect([row.icount, row.brctr]).toEqual([row.icount, brctr - delivered]);
  }
});

test("a session from each checkpoint is in the state of a straight run, and can leave others", async () => {
  const { checkpoints } = await index(3);
  const straight = await statesAt(checkpoints.map((one) => one.icount));
  expect(await Promise.all(checkpoints.map(stateFrom))).toEqual(straight);
  const [first, second] = checkpoints as [CountedCheckpoint, CountedCheckpoint];
  const second2 = await (async () => {
    await using session = await Session.create(tape, {
      qemu,
      from: first,
      checkpointsTo: `${cache}-2`,
      attach: { extra: pluginArguments(plugin) },
      channels: pluginChannels,
    });
    await session.start();
    const channel = new PluginChannel(session.channels);
    await channel.start(first.brctr, first.rep);
    await session.runTo(second.icount);
    return await session.checkpoint(await channel.where());
  })();
  expect(second2.brctr).toBe(second.brctr);
  expect(await stateFrom(second2 as CountedCheckpoint)).toEqual(straight[1]);
});

test("a second index has nothing to do; a trace begins at the checkpoint before its start, and is the same", async () => {
  const window = ["@200000000", "@200100000", "-o"];
  const trace = async (file: string) => {
    await bench.run(["trace", "t", ...window, file]);
    return readFileSync(bench.path(file));
  };
  const slow = await trace("slow.branches");
  const made = await index(7);
  const again = ["index", "t", "--checkpoints", "7"];
  const { checkpoints, rows } = await bench.json<{ checkpoints: object[]; rows: number }>(again);
  expect([checkpoints.length, rows]).toEqual([7, made.rowCount]);
  expect((await TapeIndex.open(cache, await built())).checkpoints).toEqual(made.checkpoints); // `made` is a time
  expect((await trace("fast.branches")).equals(slow)).toBe(true);
});

test("killed at random moments, it leaves nothing half-made, and the next one is whole", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(8), fc.nat(250), async (more, ms) => {
      const child = bench.start(["index", "t", "--checkpoints", "9"]);
      let ended = false;
      void child.ended.then(() => {
        ended = true;
      });
      // Checkpoints of earlier passes are not made again.
      const there = async () => (await TapeIndex.open(cache, await built())).checkpoints.length;
      const enough = Math.min(8, (await there()) + more);
      await until(async () => ended || (await there()) >= enough, "checkpoints");
      await delay(ms); // and a little later
      child.kill("SIGKILL");
      await child.ended;
      await until(async () => (await bench.processes("rr=replay")).length === 0, "QEMU's end");
    }),
    { numRuns: 4 },
  );
  expect((await bench.run(["index", "t", "--checkpoints", "9"])).code).toBe(0);
  const { checkpoints } = await expectWhole(9);
  expect(await Promise.all(checkpoints.slice(2, 4).map(stateFrom))).toEqual(
    await statesAt(checkpoints.slice(2, 4).map((one) => one.icount)),
  );
});

test("two at once make one index; sessions start from it meanwhile", async () => {
  const both = [0, 1].map(() => bench.run(["index", "t", "--checkpoints", "6", "--json"]));
  const known = await TapeIndex.open(cache, await built());
  await until(async () => (await known.refresh()) && known.checkpoints.length > 0, "the first checkpoint");
  await Promise.all([1, 2, 3].map(() => stateFrom(known.checkpoints[0]!)));
  const [first, second] = (await Promise.all(both)).map(
    ({ code, stdout }) => [code, JSON.parse(stdout)] as const,
  );
  expect([first![0], second![0]]).toEqual([0, 0]);
  expect(first![1].checkpoints).toEqual(second![1].checkpoints);
  await expectWhole(6);
});

describe("the cache removed", () => {
  test("while an index is made: it ends well, and the next one makes what is missing", async () => {
    const child = bench.start(["index", "t", "--checkpoints", "9"]);
    await until(
      async () => (await TapeIndex.open(cache, await built())).checkpoints.length > 2,
      "checkpoints",
    );
    await removeUnderUsers();
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([0, ""]);
    await index(9);
    await expectWhole(9);
  });

  test("while sessions start: each starts, or says that its checkpoint is gone", async () => {
    const { checkpoints } = await index(4);
    const [wanted] = await statesAt([checkpoints[1]!.icount]);
    const starts = Array.from({ length: 6 }, async (_, i) => {
      await delay(i * 7);
      return stateFrom(checkpoints[1]!).catch((error: unknown) => error);
    });
    await delay(12);
    await removeUnderUsers();
    for (const result of await Promise.all(starts)) {
      if (!isLostCheckpoint(result)) expect(result).toEqual(wanted);
    }
    expect(isLostCheckpoint(await stateFrom(checkpoints[1]!).catch((error: unknown) => error))).toBe(true);
    const trace = await bench.run(["trace", "t", "@250000000", "@250000100", "--count-only"]);
    expect(trace.code).toBe(0);
  });
});

test("files that were damaged are named by a check, are not used, and are made again", async () => {
  const { checkpoints } = await index(4);
  const files = ["guest-ram", "state.qcow2", "checkpoint.json"];
  for (const [i, name] of files.entries()) {
    const file = await open(join(checkpoints[i]!.directory, name), "r+");
    await file.write(Buffer.from([0xa5, 0x5a]), 0, 2, 200);
    await file.close();
  }
  const { code, stdout } = await bench.run(["index", "t", "--check", "--json"]);
  expect([code, JSON.parse(stdout).problems.length]).toEqual([1, 2]); // one without facts is none at all
  await index(4);
  const known = await expectWhole(4);
  expect(await stateFrom(known.checkpoints[1]!)).toEqual((await statesAt([known.checkpoints[1]!.icount]))[0]);
});

test("a budget is kept, and thinning to a smaller one leaves the others spread", async () => {
  const { bytes } = await index(10);
  const each = bytes / 10;
  await bench.json(["index", "t", "--budget", String(Math.floor(each * 4.5))]);
  const known = await TapeIndex.open(cache, await built());
  expect(known.checkpoints).toHaveLength(4);
  let blocks = 0;
  for (const { directory } of known.checkpoints)
    for (const name of await readdir(directory)) blocks += (await stat(join(directory, name))).blocks;
  expect(blocks * 512).toBeLessThan(each * 4.6);
  const gaps = [...known.checkpoints.map((one) => one.icount), tape.end.at].map((at, i, all) =>
    Number(at - (all[i - 1] ?? 0n)),
  );
  expect(Math.max(...gaps)).toBeLessThan(Number(tape.end.at) / 2);
});

test("--drop removes it; a wrong word is refused", async () => {
  await index(2);
  expect((await bench.run(["index", "t", "--drop"])).stderr).toBe("removed the index of t\n");
  expect((await readdir(cache)).filter((name) => name.startsWith("index") || name === "checkpoints")).toEqual(
    [],
  );
  for (const wrong of [
    ["--check", "rows"],
    ["--check", "--drop"],
    ["--budget", "many"],
    ["--checkpoints", "0"],
  ])
    expect((await bench.run(["index", "t", ...wrong])).code).toBe(2);
});

describe("a manifest whose machine was changed", () => {
  const path = () => bench.path("home", "t", "manifest.json");
  let before: string;
  beforeAll(() => {
    before = readFileSync(path(), "utf8");
  });
  afterAll(() => writeFile(path(), before));

  test("loads no checkpoint of the machine it was", async () => {
    await index(3);
    const at = String((await TapeIndex.open(cache, await built())).checkpoints[2]!.icount + 10n);
    const ask = () => bench.run(["at", "t", `@${at}`, "-d"]);
    const known = await ask();
    expect([known.code, known.stderr]).toEqual([0, expect.stringMatching(/state-node/)]);
    const manifest = JSON.parse(before);
    const { memoryMB } = manifest.machine;
    const machine = { ...manifest.machine, memoryMB: memoryMB + 1, append: "another" };
    await writeFile(path(), JSON.stringify({ ...manifest, machine }));
    // What it starts QEMU with is told before that runs; the tape is another machine's, and would stand still for long.
    const asking = bench.start(["at", "t", `@${at}`, "-d"]);
    await asking.prints(/rr=replay.*\n/);
    asking.kill("SIGINT");
    const { stderr } = await asking.ended;
    expect(stderr).toMatch(/rr=replay/);
    expect(stderr).not.toMatch(/state-node/);
    // The checkpoints of the machine it was are still whole, for the manifest it had.
    await writeFile(path(), before);
    expect((await ask()).stdout).toBe(known.stdout);
  });
});

test("destroying a tape removes its cache, unless a copy of it stays", async () => {
  await index(1);
  for (const copy of ["copy1", "copy2"])
    expect(
      (await bench.spawn("cp", ["-r", bench.path("home", "t"), bench.path("home", copy)]).ended).code,
    ).toBe(0);
  const destroy = async (name: string) => {
    expect((await bench.run(["destroy", name])).code).toBe(0);
    return (await readdir(join(cache, ".."))).includes(basename(cache));
  };
  expect([await destroy("copy1"), await destroy("copy2")]).toEqual([true, true]);
  expect(await destroy("t")).toBe(false);
});
