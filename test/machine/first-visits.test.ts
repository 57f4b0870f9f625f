import { readdir, readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestAddress } from "../../src/base/units.js";
import { firstVisit } from "../../src/formats/first-visits.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { checkIndex } from "../../src/replay/index/check.js";
import { firstVisitsPath } from "../../src/replay/index/first-visits-file.js";
import { indexTape } from "../../src/replay/index/tape.js";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import type { CountedCheckpoint } from "../../src/replay/session/checkpoint.js";
import { tapeCache } from "../../src/replay/session/tape-cache.js";
import { locate } from "../../src/replay/timeline/locate.js";
import { Tape } from "../../src/tape/tape.js";
import { traceWindow } from "../../src/trace/segments.js";
import { buildGuest, guestLabels } from "../guests/build.js";
import { stepInstants } from "../oracle/instants.js";
import { sharedCache, Workbench } from "../workbench.js";
import { ProbedReplay } from "./probed-replay.js";

// The first visits that the plugin notes, compared with breakpoints on every address and with single steps of a plain
// QEMU.
const names = ["faults", "crossing", "overlap", "patching", "pending-user", "user"];

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** A checkpoint that notes when its files are asked for. */
function watchDirectory(checkpoint: CountedCheckpoint, opened: Set<bigint>): CountedCheckpoint {
  return {
    ...checkpoint,
    get directory() {
      opened.add(checkpoint.icount);
      return checkpoint.directory;
    },
  };
}

describe("each instruction's first visit is noted, at its icount", () => {
  test.each(names)("%s", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await bench.json(["record", name, "--kernel", guest.kernel, "--memory", "64"]);
    const { replayCommand } = await bench.json<{ replayCommand: string[] }>(["info", name]);
    const { qemu } = (await Tape.open(bench.places, name)).manifest;
    const plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: qemu.version });
    const [begin, end] = [labels.get("window_begin")!, labels.get("window_end")!];
    const stepped = await stepInstants(replayCommand, begin, end);

    await using replay = await ProbedReplay.start(replayCommand, plugin);
    const run = [...new Set(stepped.map(({ pc }) => pc))];
    const wanted = [...new Set(run.flatMap((pc) => [pc, pc + 1n]))]; // also addresses within instructions
    for (const [id, pc] of wanted.entries())
      await replay.probes.place(id, { at: "execute", address: guestAddress(pc) }, {});
    await replay.plugin.firstVisits();
    const hits = await replay.run();
    const { bytes, isFull } = await replay.plugin.firstVisits();
    expect(isFull).toBe(false);
    const passes = [{ stretches: bytes }];
    for (const pc of wanted) {
      const met = hits.find((hit) => hit.pc === pc);
      const noted = firstVisit({ passes }, pc);
      expect([pc.toString(16), noted]).toEqual([pc.toString(16), met && Number(met.icount)]);
      const step = stepped.find((one) => one.pc === pc && one.executed);
      if (step && noted! >= stepped[0]!.icount) expect(noted).toBeLessThanOrEqual(step.icount);
    }
    expect(run.filter((pc) => firstVisit({ passes }, pc) !== undefined).length).toBeGreaterThan(
      run.length / 2,
    );
  });
});

describe("a place alone on an indexed tape", () => {
  async function indexed() {
    const guest = await buildGuest("obey");
    const child = bench.start(["record", "obey", "--kernel", guest.kernel, "-M", "32", "-c"]);
    await child.prints("ready");
    for (let spun = 0; spun < 2; spun++) child.type("s");
    child.type("q");
    expect((await child.ended).code).toBe(0);
    const tape = await Tape.open(bench.places, "obey");
    const cache = tapeCache(bench.places, tape);
    const cacheDir = sharedCache;
    const plugin = await buildPlugin({ cacheDir, qemuVersion: tape.manifest.qemu.version });
    const { qemu } = await bench.json<{ qemu: { path: string } }>(["info", "obey"]);
    await indexTape(tape, { cache, plugin, qemu: [qemu.path], checkpoints: 4 });
    const checkpoints = async () => (await TapeIndex.open(cache, tape.manifest.qemu)).checkpoints;
    const options = { cache, plugin, qemu: [qemu.path], checkpoints };
    return { tape, options, labels: await guestLabels(guest), checkpoints: await checkpoints() };
  }

  test("is found from the checkpoint before its first visit, or not at all, without a replay", async () => {
    const { tape, options, labels, checkpoints } = await indexed();
    const { cache, ...without } = options;
    expect(await readdir(cache)).toContain("checkpoints");
    const began: (bigint | undefined)[] = [];
    for (const name of ["main", "spin", "bye"]) {
      const place = { kind: "address", address: guestAddress(labels.get(name)!) } as const;
      const opened = new Set<bigint>();
      const watched = async () => checkpoints.map((one) => watchDirectory(one, opened));
      const found = await locate(tape, place, { ...options, checkpoints: watched });
      expect(found).toEqual(await locate(tape, place, without));
      const before = checkpoints.findLast((one) => one.icount < found.icount);
      expect([...opened]).toEqual(before ? [before.icount] : []);
      began.push(before?.icount);
    }
    expect(began[2]).toBe(checkpoints.at(-1)!.icount);
    for (const name of ["panic", "reset"]) {
      const place = { kind: "address", address: guestAddress(labels.get(name)!) } as const;
      const started: string[] = [];
      const reached = locate(tape, place, { ...options, debug: (line) => started.push(line) });
      const refusal = await reached.catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: "not-reached" });
      expect(started).toEqual([]);
      expect(refusal).toEqual(await locate(tape, place, without).catch((error: unknown) => error));
    }
    // A trace also begins there. It does not begin at all when its end is never reached.
    const [bye, panic] = [labels.get("bye")!, labels.get("panic")!].map(guestAddress);
    const start = { at: "address", address: bye! } as const;
    const output = bench.path("late.branches");
    const told: string[] = [];
    const traced = { ...options, cache, output, jobs: 1, debug: (line: string) => told.push(line) };
    const trace = await traceWindow(tape, { start, end: { at: "never" } }, traced);
    expect(trace.start.icount).toBe((await locate(tape, { kind: "address", address: bye! }, options)).icount);
    expect(told.find((line) => line.startsWith("start: "))).toMatch(/id=state,/); // from a checkpoint
    told.length = 0;
    const endless = traceWindow(tape, { start, end: { at: "address", address: panic! } }, traced);
    await expect(endless).rejects.toMatchObject({ code: "not-reached", facts: { which: "end" } });
    expect(told).toEqual([]);

    const bytes = await readFile(firstVisitsPath(cache));
    bytes[70]! ^= 1;
    await writeFile(firstVisitsPath(cache), bytes);
    const report = await checkIndex(tape, { cache, qemu: options.qemu });
    expect(report).toMatchObject({ ok: false, problems: ["the first visits are not what was written"] });
    expect(await checkIndex(tape, { cache, qemu: options.qemu })).toMatchObject({ ok: true });
  });
});
