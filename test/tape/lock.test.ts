import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FileLock } from "../../src/tape/lock.js";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-lock-"));
  path = join(directory, "lock");
});
afterEach(() => rm(directory, { recursive: true }));

test("is held by one at a time, until it is let go", async () => {
  const first = await FileLock.take(path, "busy");
  expect(await FileLock.tryTake(path)).toBeUndefined();
  expect(await FileLock.isHeld(path)).toBe(true);
  await expect(FileLock.take(path, "it is busy")).rejects.toMatchObject({
    code: "tape-busy",
    message: "it is busy",
  });
  await first[Symbol.asyncDispose]();
  expect(await FileLock.isHeld(path)).toBe(false);
  await using _second = await FileLock.take(path, "busy");
});

test("asking for it does not make it", async () => {
  expect(await FileLock.isHeld(path)).toBe(false);
  expect(await readdir(directory)).toEqual([]);
});

test("on a file that its holder removed is worth nothing: the next one gets a lock on the new file", async () => {
  const first = await FileLock.take(path, "busy");
  await rm(path);
  await using second = await FileLock.take(path, "busy");
  await first[Symbol.asyncDispose]();
  expect(second.fd).toBeGreaterThan(0);
  expect(await FileLock.isHeld(path)).toBe(true);
});

test("a link in its place is refused, and nothing is made where it points", async () => {
  await mkdir(join(directory, "elsewhere"));
  await symlink(join(directory, "elsewhere", "made"), path);
  await expect(FileLock.tryTake(path)).rejects.toMatchObject({ code: "bad-file" });
  expect(await readdir(join(directory, "elsewhere"))).toEqual([]);
});

test("is held as long as a child that inherited it lives, though the parent let go", async () => {
  const lock = await FileLock.take(path, "busy");
  const child = spawn("cat", { stdio: ["pipe", "ignore", "ignore", lock.fd] });
  await once(child, "spawn");
  await lock[Symbol.asyncDispose]();
  expect(await FileLock.isHeld(path)).toBe(true);
  child.stdin?.end();
  await once(child, "close");
  expect(await FileLock.isHeld(path)).toBe(false);
});
