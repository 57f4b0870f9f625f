/**
 * A replay can be stopped at every icount at which its log has events, always before them, and then ends as if it had
 * not been stopped.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openFileSource } from "../../src/base/byte-source.js";
import { icount } from "../../src/base/units.js";
import { dialectFor } from "../../src/formats/replay-log-dialect.js";
import { readReplayLog } from "../../src/formats/replay-log-reader.js";
import { buildPlugin, guardOf } from "../../src/qemu/plugin-build.js";
import { startPlugged } from "../../src/replay/session/plugged-session.js";
import { Session } from "../../src/replay/session/session.js";
import { Tape } from "../../src/tape/tape.js";
import { buildGuest } from "../guests/build.js";
import { sharedCache, Workbench } from "../workbench.js";

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

const { VMTAPE_TEST_QEMU: path } = process.env;
const qemu = path === undefined ? {} : { qemu: [path] };
/** The most stops of a guest: enough for each kind of event, of which a tiny guest has thousands. */
const mostStops = 400;

/** Icounts at which the log has an event, of each kind the first ones. */
async function eventful(tape: Tape): Promise<bigint[]> {
  const found = new Map<string, Set<bigint>>();
  await using source = await openFileSource(tape.layout.log);
  for await (const event of readReplayLog(source, dialectFor(tape.manifest.qemu.version))) {
    if (event.icount === 0n || event.icount >= tape.end.at) continue;
    const known = found.get(event.kind) ?? new Set();
    found.set(event.kind, known);
    if (known.size < mostStops / 8) known.add(event.icount);
  }
  expect(found.has("interrupt"), "an interrupt in the log").toBe(true);
  const all = [...new Set([...found.values()].flatMap((set) => [...set]))];
  return all.sort((a, b) => (a < b ? -1 : 1)).slice(0, mostStops);
}

describe.each(["hello", "timer", "pending"])("guest %s", (name) => {
  let tape: Tape;
  let plugin: string;
  let straight: { registers: string; memory: string };

  beforeAll(async () => {
    const { kernel } = await buildGuest(name);
    await bench.json(["record", name, "--kernel", kernel, "-M", "32"]);
    tape = await Tape.open(bench.places, name);
    const { version } = tape.manifest.qemu;
    plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: version });
    await using session = await Session.create(tape, qemu);
    await session.start();
    await session.runToEnd();
    straight = await session.hashState();
  });

  test("a stop comes before all events at its icount", async () => {
    await using plugged = await startPlugged(tape, { ...qemu, plugin });
    const { session, channel } = plugged;
    for (const at of await eventful(tape)) {
      await session.runTo(icount(at));
      expect(await channel.where()).toMatchObject({ icount: at, delivered: 0n });
    }
    await session.runToEnd();
    expect(await session.hashState()).toMatchObject(straight);
  });

  test("one that is stopped there, and asked much while it stands, ends as recorded", async () => {
    await using session = await Session.create(tape, { ...qemu, guard: guardOf(plugin) });
    await session.start();
    for (const at of await eventful(tape)) {
      await session.runTo(icount(at));
      // Each question wakes QEMU's main loop, which would take events.
      for (let i = 0; i < 5; i++) await session.position();
    }
    const { at } = await session.runToEnd();
    expect(at).toBe(tape.end.at);
    expect(await session.hashState()).toMatchObject(straight);
  });
});
