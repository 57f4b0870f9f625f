import type { GuestMemory } from "../../src/base/guest-memory.js";
import { syncBytes } from "../../src/base/sync-source.js";
import type { FileAt, MappedFile } from "../../src/linux/names/stack-files.js";
import type { Stack } from "../../src/linux/stack/frame.js";
import { StackWalker, type StackWalkerOptions } from "../../src/linux/stack/stack.js";
import { KernelUnwinding } from "../../src/linux/stack/unwind-kernel.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { keyOf } from "../../src/symbols/tables/address.js";
import { type DwarfRegister, RegisterSet } from "../../src/symbols/unwind/cfi-registers.js";
import { OrcTable } from "../../src/symbols/unwind/orc.js";
import type { OrcDialect } from "../../src/symbols/unwind/orc-layout.js";
import { type FixtureFunction, makeFrames } from "../symbols/cfi-fixture.js";
import { makeElf, pack } from "../symbols/elf-fixture.js";
import { type FixtureEntry, makeOrc } from "../symbols/orc-fixture.js";

/** Memory whose pages are mapped when something is written to them. */
export class SceneMemory implements GuestMemory {
  private readonly pages = new Map<bigint, Uint8Array>();
  reads = 0;

  put(address: bigint, bytes: Uint8Array): this {
    bytes.forEach((byte, i) => {
      const at = address + BigInt(i);
      const page = this.pages.get(at >> 12n) ?? new Uint8Array(4096);
      this.pages.set(at >> 12n, page);
      page[Number(at & 4095n)] = byte;
    });
    return this;
  }

  words(address: bigint, ...values: (bigint | number)[]): this {
    const bytes = new Uint8Array(values.length * 8);
    const view = new DataView(bytes.buffer);
    values.forEach((value, i) => {
      view.setBigUint64(i * 8, BigInt.asUintN(64, BigInt(value)), true);
    });
    return this.put(address, bytes);
  }

  async read(address: bigint, length: number): Promise<Uint8Array | undefined> {
    this.reads++;
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const at = BigInt.asUintN(64, address + BigInt(i));
      const page = this.pages.get(at >> 12n);
      if (!page) return undefined;
      bytes[i] = page[Number(at & 4095n)]!;
    }
    return bytes;
  }
}

/** Addresses in a scene. */
export const at = {
  kernel: 0xffff_ffff_8100_0000n,
  kernelStack: 0xffff_c900_0010_0000n,
  interruptStack: 0xffff_c900_0020_0000n,
  program: 0x5555_5555_4000n,
  stack: 0x7fff_ffff_0000n,
} as const;

const textOffset = 0x1000;

/** A position-independent program with these functions, by their offsets. */
export function programWith(functions: readonly FixtureFunction[]): FileAt {
  const { frames, header } = makeFrames(0x8000, 0x7000, functions);
  const elf = ElfFile.open(
    syncBytes(
      makeElf({
        type: 3,
        sections: [
          { name: ".text", address: BigInt(textOffset), bytes: new Uint8Array(0x1000) },
          { name: ".eh_frame_hdr", address: 0x7000n, bytes: header, flags: 2 },
          { name: ".eh_frame", address: 0x8000n, bytes: frames, flags: 2 },
        ],
      }),
    ),
  );
  return mapped({
    start: at.program,
    end: at.program + 0x10000n,
    name: "/bin/p",
    header: at.program,
    loadBias: at.program,
    elf,
  });
}

/**
 * The same program without a file or sections, only as pages in memory, found by its program headers.
 *
 * @param at the address where it is mapped
 */
export function programInMemory(
  memory: SceneMemory,
  start: bigint,
  functions: readonly FixtureFunction[],
): void {
  const { frames, header } = makeFrames(0x8000, 0x7000, functions);
  const headers = pack(
    [0x464c457f, 4],
    [0x010102, 4],
    [0, 8],
    [3, 2],
    [62, 2],
    [1, 4],
    [textOffset, 8],
    [64, 8],
    [0, 8],
    [0, 4],
    [64, 2],
    [56, 2],
    [2, 2],
    [64, 2],
    [0, 4],
    // LOAD: offset, address, physical address, size in the file and in memory, alignment
    ...([
      [1, 4],
      [5, 4],
      [0, 8],
      [0, 8],
      [0, 8],
      [0x9000, 8],
      [0x9000, 8],
      [4096, 8],
    ] as const),
    // GNU_EH_FRAME
    ...([
      [0x6474e550, 4],
      [4, 4],
      [0x7000, 8],
      [0x7000, 8],
      [0x7000, 8],
    ] as const),
    ...([
      [header.length, 8],
      [header.length, 8],
      [4, 8],
    ] as const),
  );
  memory
    .put(start, headers)
    .put(start + 0x7000n, header)
    .put(start + 0x8000n, frames);
}

/** The mappings that are these files. */
export function mapped(...files: MappedFile[]): FileAt {
  return {
    async fileAt(address) {
      return files.find(({ start, end }) => address >= start && address < end);
    },
  };
}

/** Kernel functions by offset from its start; the table ends with an end mark. */
export function kernelWith(
  entries: readonly (Omit<FixtureEntry, "at"> & { readonly at: number })[],
  { dialect = "typed", slide = 0n }: { dialect?: OrcDialect; slide?: bigint } = {},
): KernelUnwinding {
  const base = keyOf(at.kernel);
  const mark = { type: "undefined", spRegister: 0, spOffset: 0, bpRegister: 0, bpOffset: 0 } as const;
  const list = [
    ...entries.map((entry) => ({ ...entry, at: base + entry.at })),
    { at: base + 0x10000, ...mark },
  ];
  const placesAt = base + 0x100000;
  const { places, bytes } = makeOrc(list, placesAt, dialect);
  return new KernelUnwinding(OrcTable.read(places, placesAt, bytes, dialect), slide);
}

export const call = (atOffset: number, spOffset: number, extra: Partial<FixtureEntry> = {}) => ({
  at: atOffset,
  type: "call" as const,
  spRegister: 5,
  spOffset,
  bpRegister: 0,
  bpOffset: 0,
  ...extra,
});
export const saved = (atOffset: number, spOffset = 0) => ({
  ...call(atOffset, spOffset),
  type: "registers" as const,
});
export const processorSaved = (atOffset: number, spOffset = 0) => ({
  ...call(atOffset, spOffset),
  type: "partial" as const,
});
export const nothing = (atOffset: number) => ({
  ...call(atOffset, 0),
  type: "undefined" as const,
  spRegister: 0,
});
export const outermost = (atOffset: number) => ({
  ...call(atOffset, 0),
  type: "end" as const,
  spRegister: 0,
});

/** `struct pt_regs`, as entry code leaves it on a stack. */
export function savedRegisters(
  values: Partial<Record<DwarfRegister, bigint>> & { cs?: number; originalRax?: bigint },
): bigint[] {
  const order = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"] as const;
  const rest = ["rax", "rcx", "rdx", "rsi", "rdi"] as const;
  return [
    ...[...order, ...rest].map((name) => values[name] ?? 0n),
    values.originalRax ?? -1n,
    values.rip ?? 0n,
    BigInt(values.cs ?? 0x33),
    0x246n,
    values.rsp ?? 0n,
    values.cs === 0x10 ? 0x18n : 0x2bn,
  ];
}

export function registers(values: Partial<Record<DwarfRegister, bigint>>, cs: number): RegisterSet {
  const zero = Object.fromEntries(
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip"].map((name) => [name, 0n]),
  );
  const high = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`r${i + 8}`, 0n]));
  return RegisterSet.of({ ...zero, ...high, ...values } as Record<DwarfRegister, bigint>, cs);
}

export const walk = (memory: SceneMemory, set: RegisterSet, options: StackWalkerOptions): Promise<Stack> =>
  new StackWalker(options).walk(set, memory);

/**
 * A stack as text: `kernel+1234 function orc`, one line a frame, with `?` after frames that are not reliable; then
 * the end.
 */
export function drawn({ frames, end }: Stack): string {
  const place = (pc: bigint) => {
    if (pc >= at.kernel) return `kernel+${(pc - at.kernel).toString(16)}`;
    if (pc >= at.program && pc < at.program + 0x10000n) return `program+${(pc - at.program).toString(16)}`;
    return pc.toString(16);
  };
  const lines = frames.map(({ pc, callSite, kind, by, reliable, syscall }) =>
    [
      place(pc),
      callSite === undefined ? "exact" : "called",
      kind,
      by,
      ...(syscall === undefined ? [] : [`#${syscall}`]),
      ...(reliable ? [] : ["?"]),
    ].join(" "),
  );
  return [...lines, end].join("\n");
}
