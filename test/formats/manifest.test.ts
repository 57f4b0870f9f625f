import { describe, expect, test } from "vitest";
import {
  decodeManifest,
  encodeManifest,
  longestManifest,
  type Manifest,
} from "../../src/formats/manifest.js";

const hash = "0123456789abcdef".repeat(4);
const stored = { bytes: 10, sha256: hash };
const manifest: Manifest = {
  format: "vmtape",
  version: 2,
  id: "8e4b8f3a-8c43-4b1e-9d83-2b0f2c1b8a11",
  created: "2025-01-02T03:04:05.678Z",
  machine: {
    arch: "x86_64",
    memoryMB: 256,
    cpu: "qemu64",
    append: 'console=ttyS0 x="a b"',
    kernel: stored,
    initrd: stored,
    disks: [{ format: "raw", base: stored }],
    network: "user",
    networkSends: "at-once",
    firmware: [{ name: "bios-256k.bin", ...stored }],
  },
  qemu: { version: "7.2.22", fullVersion: "7.2.22 (Debian)", path: "/usr/bin/qemu", sha256: hash },
  symbols: [{ ...stored, label: "vmlinux", prefix: "k:", range: "0x0-0xff" }],
  witnesses: [
    { icount: 5, registers: hash, memory: hash },
    { icount: 7, registers: hash, memory: hash, busy: true },
  ],
  end: { cause: "power-off", icount: 9, seconds: 1.5, log: { ...stored, events: 3 }, console: stored },
  proof: { result: "proved", when: "2025-01-02T03:05:05.678Z", witnesses: 2, branches: true },
};
/** The manifest of a tape of the first version. */
const first = { ...manifest, version: 1 as const };
const decode = (text: string | Uint8Array) =>
  decodeManifest(typeof text === "string" ? Buffer.from(text) : text, "m.json");
const bad = (message: RegExp) =>
  expect.objectContaining({ code: "bad-manifest", message: expect.stringMatching(message) });

/** The manifest with the field at `path` replaced. */
function changed(path: string, value: unknown): string {
  const copy = structuredClone(manifest) as unknown as Record<string, unknown>;
  const keys = path.split(".");
  let place = copy;
  for (const key of keys.slice(0, -1)) place = place[key] as Record<string, unknown>;
  place[keys.at(-1)!] = value;
  return JSON.stringify(copy);
}

test("is read back as it is written", () => {
  expect(decode(encodeManifest(manifest))).toEqual(manifest);
  const { end: _end, ...unfinished } = manifest;
  expect(decode(encodeManifest(unfinished))).toEqual(unfinished);
});

test("the first version is read", () => {
  expect(decode(encodeManifest(first))).toEqual(first);
});

test("cut anywhere is refused", () => {
  const whole = encodeManifest(manifest).trimEnd();
  for (let length = 0; length < whole.length; length++) {
    expect(() => decode(whole.slice(0, length))).toThrow(
      bad(length === 0 ? /is empty/ : /is not whole JSON/),
    );
  }
});

test.each([
  ["null", /is no manifest/],
  ["[]", /is no manifest/],
  ["{}", /is no manifest/],
  ["7", /is no manifest/],
  ['{"format":"vmtape"}', /has version undefined; this vmtape reads versions 1 and 2/],
  [changed("version", 3), /has version 3; this vmtape reads versions 1 and 2/],
  [changed("version", "x".repeat(1000)), /has version "x{38,40}; this/],
  ["\ufeff{", /is not whole JSON/],
])("%s is refused", (text, message) => {
  expect(() => decode(text)).toThrow(bad(message));
});

test("bytes that are no UTF-8 are refused", () => {
  expect(() => decode(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(bad(/is not whole JSON/));
});

describe("nothing but known fields of known shape", () => {
  test.each([
    ["log", "../../etc/passwd"],
    ["machine.kernelPath", "/etc/shadow"],
    ["machine.extra", ["-chardev", "file,path=/root/x"]],
    ["machine.disks", [{ format: "raw", base: stored, file: "/dev/sda" }]],
    ["machine.disks", [{ format: "vmdk", base: stored }]],
    ["machine.disks", Array.from({ length: 17 }, () => ({ format: "raw", base: stored }))],
    ["machine.firmware", [{ name: "../bios.bin", ...stored }]],
    ["machine.firmware", [{ name: "/bios.bin", ...stored }]],
    ["machine.firmware", [{ name: ".", ...stored }]],
    ["machine.cpu", "qemu64,x=1"],
    ["machine.cpu", "-enable-kvm"],
    ["machine.cpu", ""],
    ["machine.network", "tap"],
    ["machine.arch", "aarch64"],
    ["machine.memoryMB", 0],
    ["machine.memoryMB", -1],
    ["machine.memoryMB", 2.5],
    ["machine.memoryMB", 1e300],
    ["machine.memoryMB", "256"],
    ["machine.append", "a\u0000b"],
    ["machine.append", "a\u001b[2Jb"],
    ["machine.append", "a\u009b2Jb"],
    ["machine.append", "x".repeat((16 << 10) + 1)],
    ["machine.kernel.sha256", hash.toUpperCase()],
    ["machine.kernel.sha256", "../../../x"],
    ["machine.kernel.bytes", -1],
    ["machine.kernel.bytes", 2 ** 53],
    ["qemu.path", "/bin/sh\n"],
    ["qemu.version", "\u001b]0;x\u0007"],
    ["symbols", [{ ...stored, label: "x", range: "0x0" }]],
    ["witnesses", [{ icount: -1, registers: hash, memory: hash }]],
    ["witnesses", Array.from({ length: 65 }, () => ({ icount: 1, registers: hash, memory: hash }))],
    ["end.cause", "magic"],
    ["end.icount", Number.MAX_SAFE_INTEGER + 1],
    ["end.log.path", "/etc/passwd"],
    ["id", "x"],
    ["created", "yesterday"],
    ["__proto__x", {}],
  ])("%s = %j", (path, value) => {
    expect(() => decode(changed(path, value))).toThrow(bad(/^m\.json is not valid: field /));
  });

  test("an error names the field, and stays short", () => {
    expect(() => decode(changed("machine.memoryMB", 0))).toThrow(/field machine\.memoryMB: /);
    const key = "k".repeat(100_000);
    try {
      decode(changed(key, 1));
      expect.unreachable();
    } catch (error) {
      expect((error as Error).message.length).toBeLessThan(600);
    }
  });
});

test("a manifest of more than a megabyte is not looked at", () => {
  expect(() => decode(new Uint8Array(longestManifest + 1))).toThrow(bad(/is longer than 1048576 bytes/));
});

test("deep nesting does not end the process", () => {
  const deep = `{"format":"vmtape","version":1,"machine":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  expect(() => decode(deep)).toThrow(bad(/./));
});
