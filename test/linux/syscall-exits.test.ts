import { expect, test } from "vitest";
import type { LinuxKernel } from "../../src/linux/guest/linux-kernel.js";
import type { ProbeNames } from "../../src/linux/pass/probe-names.js";
import { findCallExits } from "../../src/linux/syscall/exits.js";
import { SyscallPlaces } from "../../src/linux/syscall/places.js";
import { decodeBtf } from "../../src/symbols/btf/types.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { keyOf } from "../../src/symbols/tables/address.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import { Types } from "../../src/symbols/types/set.js";
import { BtfBuilder } from "../symbols/btf-fixture.js";

const text = 0xffff_ffff_8100_0000n;
const pvOps = 0xffff_ffff_8300_0000n;

/**
 * `pt_regs`, and the table of functions that a hypervisor replaces, with the members that matter in the order of
 * Linux 7.0.
 */
function types(): Types {
  const btf = new BtfBuilder();
  const long = btf.int("long unsigned int", 8);
  btf.struct("struct", "pt_regs", 168, [
    { name: "ax", type: long, bit: 80 * 8 },
    { name: "orig_ax", type: long, bit: 120 * 8 },
  ]);
  const irq = btf.struct("struct", "pv_irq_ops", 24, [
    { name: "save_fl", type: long, bit: 0 },
    { name: "irq_disable", type: long, bit: 64 },
    { name: "irq_enable", type: long, bit: 128 },
  ]);
  btf.struct("struct", "paravirt_patch_template", 256, [{ name: "irq", type: irq, bit: 224 * 8 }]);
  return new Types(decodeBtf(btf.bytes(), { name: "fixture" }));
}

const disable = pvOps + 232n;
const enable = pvOps + 240n;
const le32 = (value: bigint) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(Number(BigInt.asIntN(32, value)));
  return [...bytes];
};
/** `call *TARGET(%rip)` as the instruction at `at`. */
const callRelative = (at: bigint, target: bigint) => [0xff, 0x15, ...le32(target - (at + 6n))];
/** `call *TARGET`. */
const callAbsolute = (target: bigint) => [0xff, 0x14, 0x25, ...le32(target)];
const storeR12 = [0x49, 0x89, 0x44, 0x24, 0x50];
const storeRbx = [0x48, 0x89, 0x43, 0x50];

/** Functions one after another, 256 bytes each. */
function kernelOf(functions: Readonly<Record<string, (at: bigint) => number[]>>) {
  const names = Object.keys(functions);
  const image = new Uint8Array(256 * (names.length + 1)).fill(0x90);
  names.forEach((name, i) => {
    image.set(functions[name]!(text + BigInt(i * 256)), i * 256);
  });
  const symbols = [
    ...names.map((name, i) => [name, text + BigInt(i * 256)] as const),
    ["_etext", text + BigInt(names.length * 256)] as const,
    ["pv_ops", pvOps] as const,
  ];
  const kernel = {
    symbols: {
      table: {
        names: NameList.from(symbols.map(([name]) => name)),
        starts: Float64Array.from(symbols, ([, address]) => keyOf(address)),
        kinds: new Uint8Array(symbols.length).fill("T".charCodeAt(0)),
      },
    },
    types: types(),
  } as unknown as LinuxKernel;
  const read = (address: bigint, length: number) => {
    const from = Number(address - text);
    return from >= 0 && from + length <= image.length ? image.subarray(from, from + length) : undefined;
  };
  return { kernel, read };
}

test("a call's result is found where its function turns interrupts off, and the register that leads to it", () => {
  const { kernel, read } = kernelOf({
    // Interrupts on; the call; its result; off; then bytes that only look like it.
    do_syscall_64: (at) => [
      ...callRelative(at, enable),
      ...storeR12,
      ...callRelative(at + 11n, disable),
      ...[0xb8, 0xfa, 0xfa, 0xfa, 0xfa],
    ],
    do_int80_emulation: () => [...callAbsolute(enable), ...storeRbx, ...callAbsolute(disable)],
    __do_fast_syscall_32: () => [0xfb, ...storeRbx, 0xfa, 0xc3, ...storeRbx, 0xfa, 0xc3],
  });
  expect(findCallExits(kernel, read)).toEqual([
    { symbol: "do_syscall_64", offset: 11, pointer: "r12" },
    { symbol: "do_int80_emulation", offset: 11, pointer: "rbx" },
    { symbol: "__do_fast_syscall_32", offset: 5, pointer: "rbx" },
    { symbol: "__do_fast_syscall_32", offset: 11, pointer: "rbx" },
  ]);
});

test("a store of another register, or elsewhere, leads to nothing", () => {
  const { kernel, read } = kernelOf({
    do_syscall_64: () => [0x48, 0x89, 0x4b, 0x50, 0x48, 0x89, 0x43, 0x58, 0x48, 0x89, 0x44, 0x24, 0x50, 0xfa],
  });
  expect(findCallExits(kernel, read)).toEqual([]);
});

test("entries have their own exits in such a kernel, and one for all where there is a function for it", () => {
  const addresses = new Map([
    ["do_syscall_64", text],
    ["do_int80_emulation", text + 0x100n],
    ["do_fast_syscall_32", text + 0x200n],
    ["__do_fast_syscall_32", text + 0x300n],
    ["do_SYSENTER_32", text + 0x400n],
  ]);
  const names: ProbeNames = {
    types: types(),
    symbols: new Symbols(),
    address: (symbol) => addresses.get(symbol),
  };
  const inlined = [
    { symbol: "do_syscall_64", offset: 11, pointer: "r12" },
    { symbol: "do_int80_emulation", offset: 12, pointer: "rbx" },
    { symbol: "__do_fast_syscall_32", offset: 5, pointer: "rbx" },
    { symbol: "__do_fast_syscall_32", offset: 11, pointer: "rbx" },
  ];
  const places = new SyscallPlaces(names, "7.0", inlined);
  expect(places.entries.map(({ symbol, exit }) => [symbol, exit.address - text, exit.pointer])).toEqual([
    ["do_syscall_64", 11n, "r12"],
    ["do_int80_emulation", 0x10cn, "rbx"],
    ["do_fast_syscall_32", 0x305n, "rbx"],
    ["do_SYSENTER_32", 0x305n, "rbx"],
  ]);
  expect(places.exits.map(({ address, isCompat }) => [address - text, isCompat])).toEqual([
    [11n, false],
    [0x10cn, true],
    [0x305n, true],
    [0x30bn, true],
  ]);
  expect(() => new SyscallPlaces(names, "7.0", [])).toThrow(/no symbol 'syscall_exit_to_user_mode'/);
  addresses.set("syscall_exit_to_user_mode", text + 0x500n);
  const old = new SyscallPlaces(names, "6.1", []);
  expect(old.exits).toEqual([{ address: text + 0x500n, pointer: "rdi", isCompat: undefined }]);
  expect(old.entries.every(({ exit }) => exit.address === old.exits[0]!.address)).toBe(true);
});
