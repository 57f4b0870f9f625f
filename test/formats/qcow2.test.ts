import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { decodeQcow2Head, isQcow2, qcow2HeadBytes } from "../../src/formats/qcow2.js";

/** A head as QEMU writes it: docs/interop/qcow2.txt. */
function head({ version = 3, backing = 0n, features = 0n, size = 1n << 20n } = {}): Uint8Array {
  const bytes = new Uint8Array(qcow2HeadBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, version);
  view.setBigUint64(8, backing);
  view.setBigUint64(24, size);
  view.setBigUint64(72, features);
  return bytes;
}

describe("the head of a qcow2 image", () => {
  test("says what else the image needs", () => {
    expect(decodeQcow2Head(head(), "x")).toEqual({
      hasBackingFile: false,
      hasExternalData: false,
      virtualBytes: 1n << 20n,
    });
    expect(decodeQcow2Head(head({ backing: 1n << 40n }), "x").hasBackingFile).toBe(true);
    expect(decodeQcow2Head(head({ features: 4n }), "x").hasExternalData).toBe(true);
    // Version 2 ends at byte 72: what follows is no feature.
    expect(decodeQcow2Head(head({ version: 2, features: 4n }), "x").hasExternalData).toBe(false);
  });

  test("is told from other files", () => {
    expect(isQcow2(head())).toBe(true);
    for (const other of [new Uint8Array(), Uint8Array.of(0x51, 0x46, 0x49), new Uint8Array(512)]) {
      expect(isQcow2(other)).toBe(false);
    }
  });

  test("cut anywhere, or of another version, is refused", () => {
    for (let length = 0; length < qcow2HeadBytes; length++) {
      expect(() => decodeQcow2Head(head().subarray(0, length), "x")).toThrow(
        expect.objectContaining({ code: "bad-file" }),
      );
    }
    for (const version of [0, 1, 4, 0xffffffff]) {
      expect(() => decodeQcow2Head(head({ version }), "x")).toThrow(/of unknown version/);
    }
  });
});

test("reads what qemu-img writes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "vmtape-qcow2-"));
  try {
    const path = (name: string) => join(directory, name);
    await runTool("qemu-img", ["create", "-q", "-f", "qcow2", path("a"), "3M"]);
    await runTool("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", path("a"), path("b")]);
    await runTool("qemu-img", [
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      `data_file=${path("d")}`,
      path("c"),
      "3M",
    ]);
    await runTool("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "compat=0.10", path("e"), "3M"]);
    const read = async (name: string) => decodeQcow2Head(await readFile(path(name)), name);
    expect(await read("a")).toEqual({
      hasBackingFile: false,
      hasExternalData: false,
      virtualBytes: 3n << 20n,
    });
    expect(await read("b")).toMatchObject({ hasBackingFile: true, virtualBytes: 3n << 20n });
    expect(await read("c")).toMatchObject({ hasExternalData: true });
    expect(await read("e")).toMatchObject({ hasBackingFile: false, virtualBytes: 3n << 20n });
  } finally {
    await rm(directory, { recursive: true });
  }
});
