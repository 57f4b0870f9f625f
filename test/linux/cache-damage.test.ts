import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { knownPlace } from "../../src/linux/guest/kernel-place.js";
import { TaskHistory } from "../../src/linux/history/task-history.js";
import { keepHistory, knownHistory } from "../../src/linux/pass/task-pass.js";
import { readIndexTable } from "../../src/replay/index/table-file.js";
import { listCheckpoints } from "../../src/replay/session/checkpoint.js";
import { columnPath, readColumns } from "../../src/symbols/tables/column-file.js";
import { FileLock } from "../../src/tape/lock.js";
import { VisitFilters } from "../../src/trace/visit-filters.js";

/** A cache may contain anything. What is not a file of vmtape's counts as missing, and nothing waits for it. */
let directory: string;
let server: Server | undefined;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterEach(async () => {
  server?.close();
  await rm(directory, { recursive: true, force: true });
});

const build = { sha256: "a".repeat(64) };
const readers: readonly [name: string, read: (cache: string) => unknown, nothing: unknown][] = [
  ["index.jsonl", readIndexTable, undefined],
  [`checkpoints/${"a".repeat(16)}/1000/checkpoint.json`, (cache) => listCheckpoints(cache, build), []],
  ["kernel-place.json", knownPlace, undefined],
  ["tasks", knownHistory, undefined],
  ["program.columns", (cache) => readColumns(columnPath(cache, "program"), "kind", "key"), undefined],
  ["visits", (cache) => new VisitFilters([1, 2, 3]).load(join(cache, "visits")), undefined],
];
const kinds: Readonly<Record<string, (path: string) => unknown>> = {
  FIFO: (path) => expect(spawnSync("mkfifo", [path]).status).toBe(0),
  directory: (path) => mkdir(path),
  "link to a device": (path) => symlink("/dev/zero", path),
  socket: (path) => {
    server = createServer();
    return new Promise<void>((resolve) => server?.listen(path, resolve));
  },
};

describe.each(Object.keys(kinds))("a %s", (kind) => {
  test.each(readers)("in place of %s is nothing", async (name, read, nothing) => {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await kinds[kind]!(join(directory, name));
    expect(await read(directory)).toEqual(nothing);
  });

  test("in place of a lock is refused", async () => {
    await kinds[kind]!(join(directory, "lock"));
    const refused = { code: "bad-file", message: expect.stringContaining(join(directory, "lock")) };
    await expect(FileLock.tryTake(join(directory, "lock"))).rejects.toMatchObject(refused);
    await expect(FileLock.isHeld(join(directory, "lock"))).rejects.toMatchObject(refused);
  });
});

test("what is kept takes the place of a FIFO", async () => {
  await kinds.FIFO!(join(directory, "tasks"));
  const history = new TaskHistory({
    icounts: Float64Array.of(0),
    brctrs: Float64Array.of(0),
    numbers: Int32Array.of(0),
    tasks: [{ address: 1n, pid: 1, tgid: 1, name: "init" } as never],
    crossings: new Float64Array(),
    spaces: [],
    end: { icount: 10, brctr: 1 },
  });
  await keepHistory(directory, history);
  expect((await knownHistory(directory))?.taskAt(0)).toEqual(history.taskAt(0));
});
