/**
 * Checkpoints as files: made, listed, known to be whole, removed, swept. There is no machine; their content is made
 * by the test.
 */
import { fork } from "node:child_process";
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isVmtapeError } from "../../src/base/errors.js";
import { brctr, icount } from "../../src/base/units.js";
import type { QemuBuild } from "../../src/qemu/build.js";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import { keepBudget } from "../../src/replay/index/thinning.js";
import {
  type Checkpoint,
  checkpointHome,
  isLostCheckpoint,
  listCheckpoints,
  removeCheckpoint,
} from "../../src/replay/session/checkpoint.js";
import { CheckpointFiles } from "../../src/replay/session/checkpoint-files.js";
import { CheckpointDraft, sweepCheckpoints } from "../../src/replay/session/checkpoint-store.js";

const build: QemuBuild = {
  path: "/q",
  version: "7.2.22",
  fullVersion: "7.2.22",
  sha256: "a".repeat(64),
  sandbox: true,
};
const other = { ...build, sha256: "b".repeat(64) };
const mib = 1 << 20;

let directory: string;
let cache: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  cache = join(directory, "cache");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** The files of a machine with one disk: 4 MiB of RAM, half of it zero. */
async function sources() {
  const file = async (name: string, bytes: Buffer) => {
    await writeFile(join(directory, name), bytes);
    return open(join(directory, name), "r");
  };
  return {
    ram: await file("ram", Buffer.concat([Buffer.alloc(2 * mib, 7), Buffer.alloc(2 * mib)])),
    state: await file("state", Buffer.alloc(10_000, 1)),
    disks: [await file("disk", Buffer.alloc(65_536, 2))],
  };
}

async function make(at: number, counted = true, by = build): Promise<Checkpoint> {
  const { ram, state, disks } = await sources();
  const draft = await CheckpointDraft.begin(cache, by);
  try {
    await draft.copy({ ram, state, disks });
    const counts = counted ? { brctr: brctr(at * 2), rep: 3n, delivered: 0n } : {};
    return await draft.finish({ icount: icount(at), ...counts }, by);
  } finally {
    await draft[Symbol.asyncDispose]();
    await Promise.all([ram, state, ...disks].map((file) => file.close()));
  }
}

const use = async (one: Checkpoint, thorough = false) => {
  const files = await CheckpointFiles.open(one, 1, { thorough });
  const [ram, pages] = [await files.ram.readFile(), await files.ramPages()];
  await files[Symbol.asyncDispose]();
  return { ram, pages };
};
const icounts = async (by = build) => (await listCheckpoints(cache, by)).map((one) => Number(one.icount));
const home = () => readdir(checkpointHome(cache, build)).then((names) => names.sort());

test("one that was made is listed, whole, sparse, and says what it takes", async () => {
  const made = await make(100);
  expect(await listCheckpoints(cache, build)).toEqual([made]);
  expect(made).toMatchObject({ icount: 100n, brctr: 200n, rep: 3n, delivered: 0n });
  const { ram, pages } = await use(made, true);
  expect([ram.length, ram[0], ram[2 * mib - 1], ram[2 * mib], ram[4 * mib - 1]]).toEqual([
    4 * mib,
    7,
    7,
    0,
    0,
  ]);
  expect(pages).toEqual(Uint8Array.from({ length: 128 }, (_, i) => (i < 64 ? 255 : 0)));
  const blocks = await Promise.all(
    (await readdir(made.directory))
      .filter((name) => !name.endsWith("json"))
      .map(async (name) => (await stat(join(made.directory, name))).blocks),
  );
  expect(made.bytes).toBe(blocks.reduce((sum, each) => sum + each, 0) * 512);
  expect(made.bytes).toBeLessThan(3 * mib);
  expect(await home()).toEqual(["100"]);
});

test("one of the same instant stays, but gives way to one that was counted", async () => {
  const plain = await make(5, false);
  expect(plain.brctr).toBeUndefined();
  expect((await make(5)).brctr).toBe(10n);
  const again = await make(5, false);
  expect(again.brctr).toBe(10n);
  expect(await listCheckpoints(cache, build)).toEqual([again]);
});

test("another build of QEMU sees none of them, and sweeping for it removes them", async () => {
  await make(1);
  expect(await icounts(other)).toEqual([]);
  await make(2, true, other);
  await sweepCheckpoints(cache, other);
  expect([await icounts(), await icounts(other)]).toEqual([[], [2]]);
});

const changes: Record<string, (file: string) => Promise<unknown>> = {
  "a byte changed": async (file) => {
    const handle = await open(file, "r+");
    await handle.write(Buffer.from([99]), 0, 1, 1000);
    await handle.close();
  },
  cut: async (file) => truncate(file, Math.floor((await stat(file)).size / 2)),
  emptied: (file) => truncate(file, 0),
  longer: (file) => appendFile(file, "x"),
  removed: (file) => rm(file),
};

describe.each(["guest-ram", "guest-ram.map", "state.qcow2", "disk-0.qcow2", "checkpoint.json"])(
  "%s",
  (name) => {
    test.each(Object.keys(changes))("%s: the checkpoint is lost, and gone", async (change) => {
      const made = await make(7);
      await use(made);
      if (name === "guest-ram.map" && change === "a byte changed") {
        await writeFile(join(made.directory, name), Buffer.alloc(128, 255));
      } else if (name === "checkpoint.json" && change === "a byte changed") {
        const path = join(made.directory, name);
        await writeFile(path, (await readFile(path, "utf8")).replace('"icount":7', '"icount":8'));
      } else await changes[change]!(join(made.directory, name));
      const error = await use(made).catch((reason: unknown) => reason);
      expect(isLostCheckpoint(error)).toBe(true);
      expect(error).toMatchObject({ code: "bad-file", facts: { checkpoint: 7n } });
      expect(await home()).toEqual([]);
    });
  },
);

test("a byte changed behind the kernel's stamps is found by a thorough look", async () => {
  const made = await make(7);
  const facts = await readFile(join(made.directory, "checkpoint.json"), "utf8");
  expect(facts).toContain('"stamps"');
  await changes["a byte changed"]!(join(made.directory, "guest-ram"));
  await expect(use(made, true)).rejects.toMatchObject({ code: "bad-file" });
});

test("a copy of a cache, or files that were only touched, are hashed once and used", async () => {
  const made = await make(7);
  await utimes(join(made.directory, "guest-ram"), new Date(), new Date(0));
  await copyFile(join(made.directory, "state.qcow2"), join(made.directory, "new"));
  await rename(join(made.directory, "new"), join(made.directory, "state.qcow2"));
  const stampsOf = async () =>
    JSON.parse((await readFile(join(made.directory, "checkpoint.json"), "utf8")).split("\n")[0]!).seen.stamps;
  const before = await stampsOf();
  await use(made);
  expect(await stampsOf()).not.toEqual(before);
  expect(await listCheckpoints(cache, build)).toEqual([made]);
});

test("files that are open stay as they are while the cache is removed", async () => {
  const made = await make(7);
  const files = await CheckpointFiles.open(made, 1);
  await rm(cache, { recursive: true });
  expect((await files.ram.readFile()).length).toBe(4 * mib);
  await files[Symbol.asyncDispose]();
  expect(isLostCheckpoint(await use(made).catch((reason: unknown) => reason))).toBe(true);
});

test("a cache that is removed while one is made: it is made nowhere, and nothing is left", async () => {
  const { ram, state, disks } = await sources();
  const draft = await CheckpointDraft.begin(cache, build);
  await draft.copy({ ram, state, disks });
  await rm(cache, { recursive: true });
  const error = await draft.finish({ icount: icount(1) }, build).catch((reason: unknown) => reason);
  expect(isVmtapeError(error, "bad-file")).toBe(true);
  await draft[Symbol.asyncDispose]();
  expect(await readdir(directory)).not.toContain("cache");
  await Promise.all([ram, state, ...disks].map((file) => file.close()));
});

describe("sweeping", () => {
  test("removes half-made ones whose maker is gone, and leaves those of the living", async () => {
    await make(1);
    const draft = await CheckpointDraft.begin(cache, build);
    const [living] = (await home()).filter((name) => name.startsWith("making-") && !name.endsWith(".lock"));
    const dead = join(checkpointHome(cache, build), "making-0123456789ab");
    await mkdir(dead);
    await writeFile(join(dead, "guest-ram"), "half");
    await writeFile(`${dead}.lock`, "");
    await mkdir(join(checkpointHome(cache, build), "making-ba9876543210")); // without a lock file
    await mkdir(join(checkpointHome(cache, build), "9.gone-17-x"));
    await mkdir(join(checkpointHome(cache, build), "12345")); // of an older version
    await sweepCheckpoints(cache, build);
    expect(await home()).toEqual(["1", living, `${living}.lock`].sort());
    await draft[Symbol.asyncDispose]();
    await sweepCheckpoints(cache, build);
    expect(await home()).toEqual(["1"]);
  });

  test("a killed maker's lock is free at once", async () => {
    const script = join(directory, "maker.mjs");
    await writeFile(
      script,
      `import { FileLock } from ${JSON.stringify(new URL("../../dist/tape/lock.js", import.meta.url).pathname)};
       globalThis.lock = await FileLock.tryTake(process.argv[2] + ".lock");
       process.send("held"); setInterval(() => {}, 1000);`,
    );
    await mkdir(checkpointHome(cache, build), { recursive: true });
    const dead = join(checkpointHome(cache, build), "making-00000000aaaa");
    await mkdir(dead);
    const child = fork(script, [dead]);
    await new Promise((resolve) => child.once("message", resolve));
    await sweepCheckpoints(cache, build);
    expect(await home()).toContain(basename(dead));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    await sweepCheckpoints(cache, build);
    expect(await home()).toEqual([]);
  });
});

test("a budget is kept in the cache, by several at once", async () => {
  for (const at of [100, 200, 300, 400, 500, 600]) await make(at);
  const each = (await listCheckpoints(cache, build))[0]!.bytes!;
  const limits = { budget: each * 4, end: 700 };
  const removed = await Promise.all([1, 2, 3].map(() => keepBudget(cache, build, limits)));
  expect(removed.sort()).toEqual([0, 0, 2]);
  expect(await icounts()).toHaveLength(4);
  expect(await icounts()).toContain(600);
});

describe("an index", () => {
  test("finds the checkpoint before an instant or a branch count, and sees what others add and remove", async () => {
    const index = await TapeIndex.open(cache, build);
    expect([index.checkpoints, index.nearest(icount(5)), index.rowCount, index.countedTo]).toEqual([
      [],
      undefined,
      0,
      0n,
    ]);
    await make(10);
    const plain = await make(20, false);
    await make(30);
    expect(await index.refresh()).toBe(true);
    expect(index.checkpoints.map((one) => Number(one.icount))).toEqual([10, 30]);
    expect(index.allCheckpoints).toContainEqual(plain);
    const nearest = [9, 10, 29, 30, 99].map((at) => index.nearest(icount(at))?.icount);
    expect(nearest).toEqual([undefined, 10n, 10n, 30n, 30n]);
    expect([19, 20, 60].map((count) => index.nearestToBrctr(brctr(count))?.icount)).toEqual([
      undefined,
      10n,
      30n,
    ]);
    await index.drop(index.checkpoints[1]!);
    expect(index.nearest(icount(99))?.icount).toBe(10n);
    await removeCheckpoint(plain.directory);
    await index.refresh();
    expect(index.allCheckpoints.map((one) => one.icount)).toEqual([10n]);
  });
});
