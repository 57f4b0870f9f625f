/**
 * The registers an unwinder follows, in the order of DWARF for x86-64 (System V ABI, AMD64 supplement, figure 3.36):
 * a number here is a number in CFI. QEMU's and GDB's own numbering differs in its first eight.
 */
export const dwarfRegisters = [
  "rax",
  "rdx",
  "rcx",
  "rbx",
  "rsi",
  "rdi",
  "rbp",
  "rsp",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
  "rip",
] as const;

export type DwarfRegister = (typeof dwarfRegisters)[number];

/** DWARF numbers by name; `rip` is the column of the return address. */
export const registerNumber = {
  rax: 0,
  rdx: 1,
  rcx: 2,
  rbx: 3,
  rsi: 4,
  rdi: 5,
  rbp: 6,
  rsp: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
  rip: 16,
} as const satisfies Record<DwarfRegister, number>;

export const registerCount = dwarfRegisters.length;

/** DWARF numbers in the order of QEMU's `g` packet: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 … r15, rip. */
export const dwarfOfGdb: Uint8Array = Uint8Array.of(0, 3, 2, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);

/** Offset of cs in a `g` packet: after seventeen registers of 8 bytes and eflags of 4. */
const csOffset = 140;

/** Bits of the registers that a called function leaves as they were: rbx, rbp, rsp, r12 … r15. */
export const calleeSaved = (1 << 3) | (1 << 6) | (1 << 7) | (0xf << 12);

const everyRegister = (1 << registerCount) - 1;

/**
 * The registers of one frame: 64-bit words as pairs of u32 in one array, and which of them are known. Unknown ones keep
 * the value of the frame inside, which is often right and never certain.
 */
export class RegisterSet {
  /** Word i is `words[2i]` (low) and `words[2i + 1]` (high). */
  readonly words = new Uint32Array(registerCount * 2);
  /** Bit i: register i is known. */
  known = 0;

  /** Bits 0 and 1 of cs, the privilege level, are 3; undefined when cs is not known. */
  cs: number | undefined;

  /** From QEMU's or GDB's `g` packet, as far as it goes. */
  static fromGdb(block: Uint8Array): RegisterSet {
    const registers = new RegisterSet();
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    for (let i = 0; i < registerCount && i * 8 + 8 <= block.length; i++) {
      const to = dwarfOfGdb[i]!;
      registers.words[to * 2] = view.getUint32(i * 8, true);
      registers.words[to * 2 + 1] = view.getUint32(i * 8 + 4, true);
      registers.known |= 1 << to;
    }
    if (csOffset + 2 <= block.length) registers.cs = view.getUint16(csOffset, true);
    return registers;
  }

  /** From values by name; cs as in the machine. */
  static of(values: Partial<Record<DwarfRegister, bigint>>, cs?: number): RegisterSet {
    const registers = new RegisterSet();
    dwarfRegisters.forEach((name, i) => {
      const value = values[name];
      if (value !== undefined) registers.setValue(i, value);
    });
    registers.cs = cs;
    return registers;
  }

  /** All of them are known. */
  get isComplete(): boolean {
    return this.known === everyRegister;
  }

  isKnown(register: number): boolean {
    return (this.known & (1 << register)) !== 0;
  }

  /** The value of a register that is known, else undefined. */
  get(name: DwarfRegister): bigint | undefined {
    const register = registerNumber[name];
    return this.isKnown(register) ? this.value(register) : undefined;
  }

  value(register: number): bigint {
    return (BigInt(this.words[register * 2 + 1]!) << 32n) | BigInt(this.words[register * 2]!);
  }

  setValue(register: number, value: bigint): void {
    this.words[register * 2] = Number(value & 0xffff_ffffn);
    this.words[register * 2 + 1] = Number((value >> 32n) & 0xffff_ffffn);
    this.known |= 1 << register;
  }

  /** As an address key (`tables/address.ts`); inexact beyond ±2^53, where nothing is mapped. */
  key(register: number): number {
    return (this.words[register * 2 + 1]! | 0) * 2 ** 32 + this.words[register * 2]!;
  }

  setKey(register: number, key: number): void {
    this.words[register * 2] = key % 2 ** 32;
    this.words[register * 2 + 1] = Math.floor(key / 2 ** 32);
    this.known |= 1 << register;
  }

  setWords(register: number, low: number, high: number): void {
    this.words[register * 2] = low;
    this.words[register * 2 + 1] = high;
    this.known |= 1 << register;
  }

  copyFrom(other: RegisterSet): void {
    this.words.set(other.words);
    this.known = other.known;
    this.cs = other.cs;
  }

  clone(): RegisterSet {
    const copy = new RegisterSet();
    copy.copyFrom(this);
    return copy;
  }
}
