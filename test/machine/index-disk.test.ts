/** Checkpoints of a guest that writes to its disk, and later reads the same bytes back. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import type { CountedCheckpoint } from "../../src/replay/session/checkpoint.js";
import { Session } from "../../src/replay/session/session.js";
import { tapeCache } from "../../src/replay/session/tape-cache.js";
import { Tape } from "../../src/tape/tape.js";
import { cloudGuest, guestArguments } from "../cloud-boot.js";
import { Workbench } from "../workbench.js";

const qemu = [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"];
/** Writes random bytes, drops its caches, and reads the bytes from the disk. */
const work =
  "for i in 1 2; do dd if=/dev/urandom of=/dev/vda bs=64k count=80 2>/dev/null; sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum /dev/vda; done";

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Replays from a checkpoint to the end. Returns the state there and the console's output. */
async function finish(tape: Tape, from: CountedCheckpoint) {
  let console = "";
  await using session = await Session.create(tape, {
    qemu,
    from,
    trusted: true,
    onConsole: (bytes) => {
      console += Buffer.from(bytes).toString("latin1");
    },
  });
  await session.start();
  const { at, why } = await session.runToEnd();
  return { at, why, state: await session.hashState(), console };
}

test("a session from the midst of a disk's writes ends as one from before them, and as the recording", async () => {
  writeFileSync(bench.path("disk"), "");
  truncateSync(bench.path("disk"), 8 << 20);
  const machine = guestArguments(await cloudGuest(bench), `vmtape.run="${work}"`);
  const record = ["record", "t", "--disk", bench.path("disk"), ...machine];
  expect((await bench.run(record)).code).toBe(0);
  const made = await bench.run(["index", "t", "--checkpoints", "24"]);
  expect([made.code, made.stderr]).toEqual([0, expect.not.stringContaining("vmtape:")]);
  const tape = await Tape.open(bench.places, "t");
  const index = await TapeIndex.open(tapeCache(bench.places, tape), {
    sha256: tape.manifest.qemu.sha256,
  });
  const written = async (one: CountedCheckpoint) => (await stat(join(one.directory, "disk-0.qcow2"))).size;
  const sizes = await Promise.all(index.checkpoints.map(written));
  const before = index.checkpoints[sizes.findLastIndex((size) => size < 1 << 20)]!;
  const amid = index.checkpoints[sizes.findIndex((size) => size >= 1 << 20)]!;
  expect(await readdir(amid.directory)).toContain("disk-0.qcow2");
  const [first, second] = [await finish(tape, before), await finish(tape, amid)];
  expect(second.state).toEqual(first.state);
  expect([first.at, first.why]).toEqual([tape.end.at, "end"]);
  expect(first.console.endsWith(second.console)).toBe(true);
  const recorded = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
  expect(recorded.match(/[0-9a-f]{64} {2}\/dev\/vda/g)).toHaveLength(2);
  expect(recorded.endsWith(first.console)).toBe(true);
});
