import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { unpack } from "../../src/guest/compressed.js";
import { readModuleInfo } from "../../src/guest/modinfo.js";
import { defaultModules, planModules } from "../../src/guest/modules.js";
import { compressionSample } from "../base/compression-sample.js";
import { fakeModule } from "./module-fixture.js";

describe("the facts of a module", () => {
  const info = [
    "license=GPL",
    "softdep=pre: crc32c sha1 post: later",
    "alias=fs-ext4",
    "depends=jbd2,mbcache",
    "name=ext4",
  ];
  const bytes = fakeModule(...info);

  test("dependencies, softdeps to load before, and aliases", () => {
    expect(readModuleInfo(bytes)).toEqual({
      depends: ["jbd2", "mbcache"],
      wants: ["crc32c", "sha1"],
      aliases: ["fs-ext4"],
    });
    expect(readModuleInfo(fakeModule("depends="))).toEqual({ depends: [], wants: [], aliases: [] });
  });

  test("cut at every byte: an error, never another answer", () => {
    for (let length = 0; length < bytes.length - 24; length++) {
      expect(() => readModuleInfo(bytes.subarray(0, length)), `${length}`).toThrow(
        expect.objectContaining({ code: "bad-file" }),
      );
    }
  });

  test.each([
    ["another magic", 0, 0x00],
    ["32 bits", 4, 1],
    ["another byte order", 5, 2],
    ["a section table beyond the end", 0x2e, 0x7f],
    ["a section size of 1", 0x3a, 1],
    ["names beyond the sections", 0x3e, 9],
  ])("refuses %s", (_, at, value) => {
    const changed = Buffer.from(bytes);
    changed[at] = value;
    expect(() => readModuleInfo(changed)).toThrow(expect.objectContaining({ code: "bad-file" }));
  });

  test("refuses an ELF file that is no module", () => {
    const other = Buffer.from(fakeModule("a=b"));
    other[other.indexOf(".modinfo") + 1] = 0x78;
    expect(() => readModuleInfo(other)).toThrow("no .modinfo");
  });
});

describe("compressed modules", () => {
  const golden = join(import.meta.dirname, "../golden/compression");
  test.each(["sample.gz", "sample.crc64.xz", "sample.22.zst", "sample.1.zst"])("%s", async (name) => {
    const packed = await readFile(join(golden, name));
    expect(Buffer.compare(await unpack(packed, name), compressionSample())).toBe(0);
    await expect(unpack(packed.subarray(0, packed.length >> 1), name)).rejects.toMatchObject({
      code: "bad-file",
    });
    await expect(unpack(Buffer.from("not packed at all"), name)).rejects.toMatchObject({
      code: "bad-file",
    });
  });
});

describe("the order of loading", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "vmtape-modules-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const put = async (path: string, data: string | Uint8Array) => {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), data);
  };
  const plan = async (...wanted: string[]) => {
    const { load, builtIn, missing } = await planModules(directory, wanted);
    return { load: load.map((module) => module.name), builtIn, missing };
  };

  test("what is needed comes first, softdeps by their alias too, each once", async () => {
    await put("kernel/fs/ext4/ext4.ko", fakeModule("softdep=pre: crypto-crc32c", "depends=jbd2,mbcache"));
    await put("kernel/fs/jbd2/jbd2.ko.gz", gzipSync(fakeModule("softdep=pre: crypto-crc32c", "depends=")));
    await put("kernel/fs/mbcache.ko", fakeModule("depends="));
    await put("kernel/arch/x86/crypto/crc32c-intel.ko", fakeModule("alias=crypto-crc32c", "depends="));
    await put("kernel/crypto/crc32c_generic.ko", fakeModule("alias=crypto-crc32c", "depends="));
    expect(await plan("ext4", "jbd2")).toEqual({
      load: ["crc32c_generic", "jbd2", "mbcache", "ext4"],
      builtIn: [],
      missing: [],
    });
  });

  test("paths lose their compression, data are unpacked", async () => {
    const module = fakeModule("depends=");
    await put("kernel/net/a-b.ko.gz", gzipSync(module));
    const { load } = await planModules(directory, ["a-b"]);
    expect(load).toHaveLength(1);
    expect(load[0]).toMatchObject({ name: "a_b", path: "kernel/net/a-b.ko" });
    expect(Buffer.compare(load[0]!.data, module)).toBe(0);
  });

  test("what is built in is left out, by name and by alias; what is not there is said", async () => {
    await put("kernel/a.ko", fakeModule("depends=in-image,gone", "softdep=pre: some-alias"));
    await put("modules.builtin", "kernel/x/in-image.ko\n");
    await put("modules.builtin.modinfo", "thing.license=GPL\0thing.alias=some-alias\0");
    expect(await plan("a", "b")).toEqual({
      load: ["a"],
      builtIn: ["some_alias", "in_image"],
      missing: ["gone", "b"],
    });
  });

  test("a circle of dependencies ends", async () => {
    await put("kernel/a.ko", fakeModule("depends=b"));
    await put("kernel/b.ko", fakeModule("depends=a"));
    expect((await plan("a")).load).toEqual(["b", "a"]);
  });

  test("a kernel without modules", async () => {
    expect((await plan(...defaultModules)).missing).toEqual([...defaultModules]);
  });

  test("a damaged module is named", async () => {
    await put("kernel/a.ko.xz", "no xz");
    await expect(plan("a")).rejects.toMatchObject({
      code: "bad-file",
      facts: { file: join(directory, "kernel/a.ko.xz") },
    });
  });
});
