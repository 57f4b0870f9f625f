import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { checkStored, describeFile, storeFile } from "../../src/tape/store.js";

let directory: string;
const path = (name: string) => join(directory, name);
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-store-"));
});
afterEach(() => rm(directory, { recursive: true }));

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("storing", () => {
  test("copies and hashes", async () => {
    const bytes = Buffer.from("some bytes".repeat(300_000)); // more than one block
    await writeFile(path("source"), bytes);
    const stored = await storeFile(path("source"), path("copy"));
    expect(stored).toEqual({ bytes: bytes.length, sha256: sha256(bytes) });
    expect(bytes.equals(await readFile(path("copy")))).toBe(true);
    expect(await describeFile(path("copy"))).toEqual(stored);
  });

  test("keeps holes: a sparse disk stays small", async () => {
    await writeFile(path("source"), "begin");
    await truncate(path("source"), 50 << 20);
    const stored = await storeFile(path("source"), path("copy"));
    const { size, blocks } = await stat(path("copy"));
    expect(size).toBe(50 << 20);
    expect(blocks * 512).toBeLessThan(3 << 20);
    expect(await describeFile(path("copy"))).toEqual(stored);
  });

  test("does not overwrite", async () => {
    await writeFile(path("source"), "new");
    await writeFile(path("copy"), "old");
    await expect(storeFile(path("source"), path("copy"))).rejects.toMatchObject({ code: "bad-file" });
    expect(await readFile(path("copy"), "utf8")).toBe("old");
  });

  test("refuses what is no file, without waiting for a writer", async () => {
    await mkdir(path("folder"));
    await writeFile(path("empty"), "");
    await runTool("mkfifo", [path("fifo")]);
    for (const name of ["absent", "folder", "empty", "fifo"]) {
      await expect(storeFile(path(name), path("copy"))).rejects.toMatchObject({ code: "bad-file" });
    }
    await expect(storeFile("/dev/zero", path("copy"))).rejects.toThrow(/is not a regular file/);
  });

  test("is cancelled between blocks", async () => {
    await writeFile(path("source"), "x");
    const copying = storeFile(path("source"), path("copy"), AbortSignal.abort());
    await expect(copying).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("checking", () => {
  test("tells length, content, absence and links apart", async () => {
    await writeFile(path("file"), "abc");
    const stored = await describeFile(path("file"));
    await checkStored(path("file"), stored);
    await symlink(path("file"), path("link"));
    await expect(checkStored(path("link"), stored)).rejects.toMatchObject({ code: "bad-file" });
    await expect(checkStored(path("absent"), stored)).rejects.toThrow(/absent does not exist/);
    await writeFile(path("file"), "abd");
    await expect(checkStored(path("file"), stored)).rejects.toMatchObject({
      code: "changed",
      facts: { expected: stored.sha256, got: sha256(Buffer.from("abd")) },
    });
    await writeFile(path("file"), "abcd");
    await expect(checkStored(path("file"), stored)).rejects.toThrow(/has 4 bytes, but 3 were recorded/);
  });
});
