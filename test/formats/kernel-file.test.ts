import { expect, test } from "vitest";
import { isKernel32, kernelHeadBytes, kernelKind } from "../../src/formats/kernel-file.js";

const linux = () => Buffer.concat([Buffer.alloc(0x202), Buffer.from("HdrS"), Buffer.alloc(100)]);

function multiboot(at: number, flags = 0x10003): Uint8Array {
  const bytes = new Uint8Array(kernelHeadBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(at, 0x1badb002, true);
  view.setUint32(at + 4, flags, true);
  view.setUint32(at + 8, -(0x1badb002 + flags) >>> 0, true);
  return bytes;
}

function elf(): Uint8Array {
  const bytes = new Uint8Array(64);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  return bytes;
}

test("Linux, Multiboot and ELF kernels are told", () => {
  expect(kernelKind(linux())).toBe("linux");
  for (const at of [0, 4, 4096, kernelHeadBytes - 12]) expect(kernelKind(multiboot(at))).toBe("multiboot");
  expect(kernelKind(elf())).toBe("elf");
  // An ELF file with a Multiboot header is started as Multiboot, as QEMU does.
  const both = multiboot(4096);
  both.set(elf().subarray(0, 16));
  expect(kernelKind(both)).toBe("multiboot");
});

test("a 32-bit Linux is told by its load flags, and nothing else is taken for one", () => {
  const bzImage = (flags: number, { version = 0x020f, payload = 1000 } = {}) => {
    const head = Buffer.alloc(1024);
    head.write("HdrS", 0x202, "latin1");
    head.writeUInt16LE(version, 0x206);
    head.writeUInt16LE(flags, 0x236);
    head.writeUInt32LE(payload, 0x24c);
    return head;
  };
  // As Debian 12's 686 and amd64 kernels have them.
  expect(isKernel32(bzImage(0x4))).toBe(true);
  expect(isKernel32(bzImage(0x7f))).toBe(false);
  // Linux before 3.8 has no such flags; a memory tester has no payload.
  expect(isKernel32(bzImage(0, { version: 0x020b }))).toBe(false);
  expect(isKernel32(bzImage(0, { payload: 0 }))).toBe(false);
  expect(isKernel32(bzImage(0x4).subarray(0, 0x24f))).toBe(false);
  expect(isKernel32(elf())).toBe(false);
});

test("nothing else is one", () => {
  const wrongSum = multiboot(0);
  wrongSum.set([0x55], 8);
  for (const bytes of [
    new Uint8Array(),
    new Uint8Array(kernelHeadBytes),
    wrongSum,
    Buffer.from("#!/bin/sh\n"),
  ]) {
    expect(kernelKind(bytes)).toBeUndefined();
  }
});

test("a head cut anywhere is read within its bounds", () => {
  for (const [whole, needed] of [
    [linux(), 0x206],
    [elf(), 52],
    [multiboot(8), 20],
  ] as const) {
    for (let length = 0; length < 600; length++) {
      const kind = kernelKind(whole.subarray(0, length));
      expect(kind === undefined).toBe(length < needed);
    }
  }
});

test("a view into a larger buffer is read from its own begin", () => {
  const buffer = Buffer.concat([Buffer.alloc(3), linux()]);
  expect(kernelKind(buffer.subarray(3))).toBe("linux");
  expect(kernelKind(buffer)).toBeUndefined();
});
