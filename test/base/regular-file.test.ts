import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  noLinks,
  openRegular,
  openRegularSync,
  readRegular,
  readRegularSync,
  removeRegular,
} from "../../src/base/regular-file.js";
import { replaceFile, replaceFileSync } from "../../src/base/replace-file.js";

let directory: string;
const at = (name: string) => join(directory, name);
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  await writeFile(at("file"), "text");
  await symlink(at("file"), at("link"));
  await mkdir(at("directory"));
  expect(spawnSync("mkfifo", [at("FIFO")]).status).toBe(0);
  await symlink("/dev/zero", at("device"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("a regular file is read, a link to one where links are followed", async () => {
  for (const name of ["file", "link"]) {
    expect(String(await readRegular(at(name)))).toBe("text");
    expect(String(readRegularSync(at(name)))).toBe("text");
  }
  const refused = { code: "bad-file", message: `${at("link")} is not a regular file but a symbolic link` };
  await expect(readRegular(at("link"), noLinks)).rejects.toMatchObject(refused);
  expect(() => readRegularSync(at("link"), noLinks)).toThrow(refused.message);
});

test.each([
  ["FIFO", "is not a regular file but a FIFO"],
  ["device", "is not a regular file but a device"],
  ["directory", "is a directory"],
  ["nothing", "does not exist"],
])("a %s is not opened", async (name, sentence) => {
  for (const access of ["read", "write"] as const) {
    const refused = { code: "bad-file", message: `${at(name)} ${sentence}` };
    if (name === "nothing" && access === "write") continue; // its directory is named then
    await expect(openRegular(at(name), { access })).rejects.toMatchObject(refused);
    expect(() => openRegularSync(at(name), { access })).toThrow(refused.message);
  }
});

test("what is put in place takes the place of a FIFO or a link, without following it; nothing else is left", async () => {
  await replaceFile(at("FIFO"), "new");
  replaceFileSync(at("link"), "new");
  await expect(replaceFile(at("directory"), "new")).rejects.toThrow();
  expect(() => replaceFileSync(at("directory"), "new")).toThrow();
  const texts = await Promise.all(["FIFO", "link", "file"].map((name) => readFile(at(name), "utf8")));
  expect(texts).toEqual(["new", "new", "text"]);
  expect((await readdir(directory)).sort()).toEqual(["FIFO", "device", "directory", "file", "link"]);
});

test("a pipe of the user's is not removed", async () => {
  for (const name of ["FIFO", "device", "directory", "file", "nothing"]) await removeRegular(at(name));
  expect((await readdir(directory)).sort()).toEqual(["FIFO", "device", "directory", "link"]);
});
