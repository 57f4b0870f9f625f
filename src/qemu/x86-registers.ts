/**
 * The `g` packet of QEMU's x86-64 stub: registers by name, number, offset and size. Numbers and order are those of
 * `target.xml` (QEMU, gdb-xml/i386-64bit.xml); agent expressions and `p` packets use the same numbers. Some registers
 * are not in it: the bases of ss, ds and es, and AVX.
 */
export interface X86Register {
  readonly name: string;
  readonly number: number;
  /** Bytes from the start of the block. */
  readonly offset: number;
  readonly bytes: number;
}

const general = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"];
const extended = Array.from({ length: 8 }, (_, i) => `r${8 + i}`);
const segments = ["cs", "ss", "ds", "es", "fs", "gs"];
const x87 = Array.from({ length: 8 }, (_, i) => `st${i}`);
const x87Control = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"];
const sse = Array.from({ length: 16 }, (_, i) => `xmm${i}`);

const sizes: readonly (readonly [names: readonly string[], bytes: number])[] = [
  [[...general, ...extended, "rip"], 8],
  [["eflags", ...segments], 4],
  [["fs_base", "gs_base", "k_gs_base"], 8],
  [["cr0", "cr2", "cr3", "cr4", "cr8", "efer"], 8],
  [x87, 10],
  [x87Control, 4],
  [sse, 16],
  [["mxcsr"], 4],
];

/** All registers of the block, in order. */
export const x86Registers: readonly X86Register[] = layOut();

const byName = new Map(x86Registers.map((register) => [register.name, register]));

function layOut(): X86Register[] {
  const all: X86Register[] = [];
  let offset = 0;
  for (const [names, bytes] of sizes) {
    for (const name of names) {
      all.push({ name, number: all.length, offset, bytes });
      offset += bytes;
    }
  }
  return all;
}

/** A register by name, e.g. `rip`; undefined when there is none. */
export function x86Register(name: string): X86Register | undefined {
  return byName.get(name);
}

/** The value of a register of at most 8 bytes in a `g` block, 0 when the block is too short. */
export function registerValue(block: Uint8Array, name: string): bigint {
  const { offset, bytes } = byName.get(name)!;
  if (offset + bytes > block.length) return 0n;
  const view = new DataView(block.buffer, block.byteOffset);
  return bytes === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
}
