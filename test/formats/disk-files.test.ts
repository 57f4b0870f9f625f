/** Files on disk images. The images were made by e2fsprogs, qemu-img and sfdisk: test/golden/disks/make.sh. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import type { DiskBytes } from "../../src/formats/disk-bytes.js";
import { Ext4, isExt4 } from "../../src/formats/ext4.js";
import { fileSystemOf, fileSystemsOn } from "../../src/formats/file-systems.js";
import { partitionsOf } from "../../src/formats/partitions.js";
import { openQcow2 } from "../../src/formats/qcow2-image.js";

const bytesOf = (name: string) => readFileSync(new URL(`../golden/disks/${name}`, import.meta.url));
const image = (name: string, backing?: DiskBytes) => openQcow2(syncBytes(bytesOf(name), name), backing);
const lines = (count: number, name: string) =>
  Array.from({ length: count }, (_, i) => `${i + 1} ${name}\n`).join("");

function read(system: Ext4, path: string): string | undefined {
  const found = system.find(path);
  if (found?.kind !== "file") return undefined;
  const file = system.open(found, path);
  return Buffer.from(file.read(0, file.size)).toString("latin1");
}

const opened: Readonly<Record<string, () => DiskBytes>> = {
  "ext4 in clusters packed by zlib": () => image("ext4.qcow2"),
  "ext4 in clusters packed by zstd": () => image("zstd.qcow2"),
  "ext2 in a partition of a GPT": () => partitionsOf(image("gpt.qcow2"))[1]!,
  "ext2 in a logical partition of an MBR": () => partitionsOf(image("mbr.qcow2"))[2]!,
};

describe.each(Object.keys(opened))("%s", (name) => {
  const system = Ext4.open(opened[name]!());
  test("a file of many blocks", () => {
    expect(read(system, "/usr/bin/program")).toBe(lines(40000, "program"));
    const file = system.open(system.find("usr/bin/program")!, "p");
    const whole = Buffer.from(lines(40000, "program"));
    for (const [offset, length] of [
      [0, 1],
      [1023, 2],
      [12 * 1024 - 1, 1026],
      [268 * 1024 - 3, 7],
      [whole.length - 1, 1],
      [whole.length, 0],
    ] as const) {
      expect(Buffer.from(file.read(offset, length))).toEqual(whole.subarray(offset, offset + length));
    }
    expect(() => file.read(whole.length, 1)).toThrow(expect.objectContaining({ code: "bad-file" }));
  });
  test("holes are zeros, and an empty file is empty", () => {
    const expected = Buffer.alloc(300_000);
    expected.write("end", 200_000);
    expect(read(system, "/usr/lib/sparse")).toBe(expected.toString("latin1"));
    expect(read(system, "/usr/lib/empty")).toBe("");
  });
  test("links are followed, in their inodes and in blocks, and never out of the file system", () => {
    expect(read(system, "/bin/small")).toBe(lines(3, "small"));
    expect(read(system, "/bin/tool")).toBe(lines(3, "small"));
    expect(read(system, "/usr/lib/long")).toBe(lines(3, "small"));
    expect(read(system, "/usr/lib/above")).toBe(lines(3, "small"));
    expect(system.find("/usr/lib/loop")).toBeUndefined();
  });
  test("a directory of many blocks", () => {
    for (const i of [1, 77, 300])
      expect(read(system, `/many/a-file-with-a-rather-long-name-${i}`)).toBe(`${i}\n`);
    expect(system.find("/many/a-file-with-a-rather-long-name-301")).toBeUndefined();
    expect(system.find("/usr/bin/small/x")).toBeUndefined();
    expect(system.find("/")?.kind).toBe("directory");
  });
});

test("an image over another one has what was written and what was not", () => {
  const base = image("ext4.qcow2");
  const after = Ext4.open(image("overlay.qcow2", base));
  expect(read(after, "/usr/bin/new")).toBe(lines(5, "new"));
  expect(after.find("/usr/bin/small")).toBeUndefined();
  expect(read(after, "/usr/bin/program")).toBe(lines(40000, "program"));
  expect(read(Ext4.open(base), "/usr/bin/new")).toBeUndefined();
});

test("partitions have the sizes that were asked for", () => {
  expect(partitionsOf(image("gpt.qcow2")).map(({ size }) => size)).toEqual([1 << 20, 4 << 20]);
  expect(partitionsOf(image("mbr.qcow2")).map(({ size }) => size)).toEqual([1 << 20, 1 << 20, 4 << 20]);
  expect(partitionsOf(image("ext4.qcow2"))).toEqual([]);
  expect(partitionsOf(syncBytes(Buffer.alloc(100)))).toEqual([]);
});

test("file systems are told by their marks", () => {
  expect(fileSystemsOn(image("ext4.qcow2"))).toEqual(["ext4"]);
  expect(fileSystemsOn(image("gpt.qcow2"))).toEqual(["ext4"]);
  const marked = (at: number, text: string) => {
    const bytes = Buffer.alloc(128 << 10);
    bytes.write(text, at, "latin1");
    return fileSystemOf(syncBytes(bytes));
  };
  expect(marked(0, "XFSB")).toBe("xfs");
  expect(marked(0x10040, "_BHRfS_M")).toBe("btrfs");
  expect(marked(82, "FAT32   ")).toBe("vfat");
  expect(marked(32769, "CD001")).toBe("iso9660");
  expect(marked(0, "hsqs")).toBe("squashfs");
  expect(marked(0, "text")).toBeUndefined();
  expect(fileSystemsOn(syncBytes(Buffer.alloc(10)))).toEqual([]);
});

describe("damage", () => {
  // Fields that a reader follows are damaged: each in turn becomes 0, 1, the largest signed and the largest unsigned
  // number.
  test("of an ext4 file system is an error with a name, or other bytes, and takes no time", () => {
    const whole = image("ext4.qcow2");
    const raw = Buffer.from(whole.read(0, whole.size));
    const places = [1024 + 20, 1024 + 24, 1024 + 40, 1024 + 76, 1024 + 88, 1024 + 96, 1024 + 254, 2048 + 8];
    const start = performance.now();
    for (const place of places) {
      for (const value of [0, 1, 0x7fffffff, 0xffffffff]) {
        const bytes = Buffer.from(raw);
        bytes.writeUInt32LE(value, place);
        quietly(() => {
          const system = Ext4.open(syncBytes(bytes));
          for (const path of ["/usr/bin/program", "/many/a-file-with-a-rather-long-name-9", "/usr/lib/long"])
            read(system, path);
        });
      }
    }
    expect(performance.now() - start).toBeLessThan(20_000);
  });
  test("of a qcow2 image is an error with a name, wherever it was cut", () => {
    const bytes = bytesOf("ext4.qcow2");
    for (let length = 0; length < bytes.length; length += 1 + Math.floor(length / 7)) {
      quietly(() => {
        const disk = openQcow2(syncBytes(bytes.subarray(0, length), "cut"));
        if (isExt4(disk)) read(Ext4.open(disk), "/usr/bin/program");
      });
    }
    for (const place of [4, 20, 24, 36, 40, 72, 104]) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt32BE(0xffffffff, place);
      quietly(() => {
        const disk = openQcow2(syncBytes(damaged, "damaged"));
        if (isExt4(disk)) read(Ext4.open(disk), "/usr/bin/program");
      });
    }
  });
});

/** Runs `work`, which may throw nothing but a VmtapeError. */
function quietly(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof VmtapeError)) throw error;
  }
}
