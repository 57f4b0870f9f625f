import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { initramfsElfFiles, initramfsFiles } from "../../src/symbols/kernel/initramfs.js";
import { loadInitramfsSources } from "../../src/symbols/names/load-source.js";
import { makeElf } from "./elf-fixture.js";

/** One newc entry. */
function entry(name: string, bytes: Uint8Array = new Uint8Array(0), mode = 0o100755): Uint8Array {
  const fields = [1, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  const pad = (length: number) => new Uint8Array((4 - (length % 4)) % 4);
  return Buffer.concat([Buffer.from(header), pad(header.length), bytes, pad(bytes.length)]);
}

const archiveOf = (...entries: Uint8Array[]) =>
  Buffer.concat([...entries, entry("TRAILER!!!", undefined, 0)]);
const program = makeElf({
  sections: [{ name: ".text", address: 0x40_1000n, bytes: new Uint8Array(32) }],
  symbols: [{ name: "main", value: 0x40_1000n, size: 32, section: ".text" }],
});
const stripped = makeElf({ sections: [{ name: ".text", address: 0x40_1000n, bytes: new Uint8Array(32) }] });
const module = makeElf({ type: 1, sections: [{ name: ".text", bytes: new Uint8Array(32) }] });
const microcode = archiveOf(
  entry("kernel", undefined, 0o40755),
  entry("kernel/x86/microcode/GenuineIntel.bin", Buffer.from("mc")),
);
const main = archiveOf(
  entry(".", undefined, 0o40755),
  entry("./init", Buffer.from("#!/bin/sh\n")),
  entry("/bin/program", program),
  entry("bin/stripped", stripped),
  entry("bin/sh", Buffer.from("busybox"), 0o120777),
  entry("lib/m.ko.gz", gzipSync(module)),
);
const plain = Buffer.concat([microcode, new Uint8Array(512), main, new Uint8Array(100)]);
const packed = Buffer.concat([microcode, new Uint8Array(512), gzipSync(main), new Uint8Array(3)]);

describe.each([
  ["plain", plain],
  ["compressed behind an early archive", packed],
  ["several in one compressed stream", gzipSync(plain)],
])("an initramfs, %s", (_, archive) => {
  it("gives its regular files", () => {
    expect([...initramfsFiles(archive)].map(({ name }) => name)).toEqual([
      "kernel/x86/microcode/GenuineIntel.bin",
      "init",
      "bin/program",
      "bin/stripped",
      "lib/m.ko.gz",
    ]);
  });

  it("gives its ELF files, modules unpacked", () => {
    const files = [...initramfsElfFiles(archive)];
    expect(files.map(({ name }) => name)).toEqual(["bin/program", "bin/stripped", "lib/m.ko"]);
    expect(Buffer.compare(files[2]!.bytes, module)).toBe(0);
  });

  it("gives the symbols of programs that have some", () => {
    expect(loadInitramfsSources(archive)).toMatchObject([{ name: "bin/program", needsBias: false }]);
  });
});

it("reads archives packed by other tools", () => {
  const sample = readFileSync(new URL("../golden/compression/sample.crc64.xz", import.meta.url));
  expect(() => [...initramfsFiles(sample, "initrd")]).toThrow(
    /^initrd is damaged: an entry of its cpio archive is missing/,
  );
});

it("reports damage and never runs away", () => {
  const names = (bytes: Uint8Array) => [...initramfsFiles(bytes)].length;
  expect(() => names(Buffer.from("hello"))).toThrow(/is not a cpio archive at byte 0/);
  expect(names(new Uint8Array(64))).toBe(0);
  for (let length = 1; length < plain.length - 100; length += 13) {
    try {
      expect(names(plain.subarray(0, length))).toBeLessThanOrEqual(5);
    } catch (error) {
      expect(error).toBeInstanceOf(VmtapeError);
    }
  }
  const absurd = Uint8Array.from(main);
  absurd.set(Buffer.from("ffffffff"), 6 + 6 * 8);
  expect(() => names(absurd)).toThrow(/an entry of its cpio archive is cut/);
  absurd.set(Buffer.from("zzzzzzzz"), 6 + 6 * 8);
  expect(() => names(absurd)).toThrow(/an entry of its cpio archive is cut/);
  expect(() => [...initramfsFiles(packed, "initrd", 100)]).toThrow(
    expect.objectContaining({ code: "limit-exceeded" }),
  );
});
