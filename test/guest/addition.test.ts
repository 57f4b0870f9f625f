import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseAddition, readAdditions } from "../../src/guest/addition.js";
import { buildInitramfs } from "../../src/guest/initramfs.js";
import { decodeNewc } from "../formats/newc-archive.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-addition-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function tree(root: string, order: readonly string[], mode: number): Promise<void> {
  for (const name of order) {
    await mkdir(join(root, "tools/sub"), { recursive: true });
    await writeFile(join(root, "tools", name), `contents of ${name}`);
    await chmod(join(root, "tools", name), name.endsWith("run") ? mode | 0o111 : mode);
  }
  await symlink("../run", join(root, "tools/sub/link"));
}

const added = async (...texts: string[]) =>
  (await readAdditions(texts.map(parseAddition))).map(
    (entry) => `${entry.type} ${entry.path} ${entry.mode.toString(8)}`,
  );

test.each([
  ["a=b", "a", "b"],
  ["a=b=/c", "a=b", "/c"],
])("%s is divided at the last equals sign", (text, source, destination) => {
  expect(parseAddition(text)).toEqual({ source, destination });
});

test.each(["", "a", "=b", "a="])("%j is not SRC=DEST", (text) => {
  expect(() => parseAddition(text)).toThrow(expect.objectContaining({ code: "usage" }));
});

describe("what is added", () => {
  test("directories with all that is in them, sorted; x bits; links inside stay links", async () => {
    await tree(directory, ["run", "b", "a"], 0o600);
    const whole = ["directory opt/t 755", "file opt/t/a 644", "file opt/t/b 644", "file opt/t/run 755"];
    expect(await added(`${directory}/tools=/opt/t`)).toEqual([
      ...whole,
      "directory opt/t/sub 755",
      "symlink opt/t/sub/link 777",
    ]);
    expect(await added(`${directory}/tools/sub/link=/bin/x`)).toEqual(["file bin/x 755"]);
    expect(await added(`${directory}/tools/a=/etc/`)).toEqual(["file etc/a 644"]);
    expect((await added(`${directory}/tools=/.`))[0]).toBe("file a 644");
  });

  test.each([
    ["a source that is not there", "nothing=/x", "bad-file"],
    ["a destination outside", "tools=/../x", "usage"],
    ["a pipe", "pipe=/x", "usage"],
  ])("refuses %s", async (_, text, code) => {
    await tree(directory, ["a"], 0o644);
    execFileSync("mkfifo", [join(directory, "pipe")]);
    await expect(added(join(directory, text))).rejects.toMatchObject({ code });
  });

  test("stops on request", async () => {
    await tree(directory, ["a"], 0o644);
    const additions = [parseAddition(`${directory}/tools=/x`)];
    await expect(readAdditions(additions, AbortSignal.abort())).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("the initramfs", () => {
  const parts = {
    busybox: { data: Buffer.from("busybox"), applets: ["ls", "sh"] },
    release: "6.1.0",
    modules: [
      { name: "b", path: "kernel/b.ko", data: Buffer.from("b") },
      { name: "a", path: "kernel/a.ko", data: Buffer.from("a") },
    ],
    init: Buffer.from("#!/bin/sh\n"),
  };
  const contents = (bytes: Uint8Array) =>
    new Map(decodeNewc(bytes).entries.map((entry) => [entry.path, entry]));

  test("holds what a kernel and a shell need, and the modules in load order", () => {
    const files = contents(buildInitramfs(parts));
    expect(files.get("init")).toMatchObject({ type: "file", mode: 0o755 });
    expect(files.get("dev/console")).toMatchObject({ type: "character", major: 5, minor: 1 });
    expect(files.get("bin/sh")).toMatchObject({ type: "symlink", target: "busybox" });
    expect(files.get("lib/modules/6.1.0/kernel/a.ko")).toMatchObject({ type: "file" });
    const list = files.get("etc/modules");
    expect(list?.type === "file" && Buffer.from(list.data).toString()).toBe(
      "/lib/modules/6.1.0/kernel/b.ko\n/lib/modules/6.1.0/kernel/a.ko\n",
    );
  });

  test("an addition replaces what has its path", () => {
    const init = { type: "file", path: "init", mode: 0o755, data: Buffer.from("mine") } as const;
    const file = contents(buildInitramfs({ ...parts, additions: [init] })).get("init");
    expect(file?.type === "file" && Buffer.from(file.data).toString()).toBe("mine");
  });

  test("the same files from another place, time, order and umask give the same bytes", async () => {
    const [one, two] = [join(directory, "one"), join(directory, "two")];
    await tree(one, ["a", "run", "b"], 0o644);
    await tree(two, ["b", "a", "run"], 0o600);
    await utimes(join(two, "tools/a"), 1, 1);
    const build = async (root: string) =>
      buildInitramfs({ ...parts, additions: await readAdditions([parseAddition(`${root}/tools=/opt`)]) });
    expect(Buffer.compare(await build(one), await build(two))).toBe(0);
  });
});
