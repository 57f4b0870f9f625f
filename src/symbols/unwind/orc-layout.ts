/**
 * ORC, the kernel's own unwind tables. Source: Linux, arch/x86/include/asm/orc_types.h and
 * arch/x86/kernel/unwind_orc.c, 5.10 to 6.12; Documentation/arch/x86/orc-unwinder.rst; the images and the code of
 * `unwind_next_frame` of 7.0 to 7.3.
 *
 * Two arrays of one length, both ascending by address: places (s32, relative to the place itself), and entries of six
 * bytes:
 *
 *       0        2        4               5
 *     | s16 sp | s16 bp | sp reg : 4     | type, signal, end |
 *     | offset | offset | bp reg : 4 <<4 |                   |
 */
export const orcEntry = { size: 6, spOffset: 0, bpOffset: 2, registers: 4, flags: 5 } as const;
export const orcPlaceSize = 4;

/** Bits 0–3 and 4–7 of byte 4, up to 7.0 and in all that reads them here; `renumbered` has those of the file from 7.1. */
export const orcRegister = {
  undefined: 0,
  previousSp: 1,
  dx: 2,
  di: 3,
  bp: 4,
  sp: 5,
  r10: 6,
  r13: 7,
  bpIndirect: 8,
  spIndirect: 9,
  ax: 10,
} as const;

/** What each number in a file of 7.1 and later means; an unused one stays what is no register. */
export const renumbered: Uint8Array = Uint8Array.of(
  orcRegister.undefined,
  orcRegister.ax,
  orcRegister.dx,
  orcRegister.sp,
  orcRegister.bp,
  orcRegister.di,
  orcRegister.r10,
  orcRegister.r13,
  orcRegister.previousSp,
  orcRegister.spIndirect,
  orcRegister.bpIndirect,
  ...[11, 12, 13, 14, 15],
);

/** What an entry says of a frame. Numbers of ours: those of the file differ between dialects. */
export const orcType = { undefined: 0, endOfStack: 1, call: 2, registers: 3, partialRegisters: 4 } as const;

/**
 * How byte 5 is divided, and the registers of byte 4 are numbered.
 *
 * - `end2`: up to 6.2. Bits 0–1 type (call 0, registers 1, partial 2), bit 2 end.
 * - `end3`: 6.3. Bits 0–1 type, bit 2 signal, bit 3 end.
 * - `typed`: from 6.4. Bits 0–2 type (undefined 0, end of stack 1, call 2, registers 3, partial 4), bit 3 signal.
 * - `renumbered`: from 7.1. Byte 5 as `typed`, the registers by other numbers.
 *
 * "Signal" says that the frame's caller was interrupted, which its type says too.
 */
export type OrcDialect = "end2" | "end3" | "typed" | "renumbered";

export const orcFlags = {
  end2: { typeMask: 3, end: 1 << 2 },
  end3: { typeMask: 3, end: 1 << 3 },
  typed: { typeMask: 7, end: 0 },
  renumbered: { typeMask: 7, end: 0 },
} as const satisfies Record<OrcDialect, { readonly typeMask: number; readonly end: number }>;

/** Where a kernel keeps them: sections of its image, and symbols around each in memory. */
export const orcSections = { places: ".orc_unwind_ip", entries: ".orc_unwind" } as const;
export const orcSymbols = {
  places: ["__start_orc_unwind_ip", "__stop_orc_unwind_ip"],
  entries: ["__start_orc_unwind", "__stop_orc_unwind"],
} as const;

/**
 * `struct pt_regs` (arch/x86/include/asm/ptrace.h): what kernel entry code pushes, by offset. The last five, the IRET
 * frame, are pushed by the processor.
 */
export const pointerRegisters = {
  size: 168,
  r15: 0,
  r14: 8,
  r13: 16,
  r12: 24,
  rbp: 32,
  rbx: 40,
  r11: 48,
  r10: 56,
  r9: 64,
  r8: 72,
  rax: 80,
  rcx: 88,
  rdx: 96,
  rsi: 104,
  rdi: 112,
  /** The number of a system call; an error code or a vector for a moment; else -1. */
  originalRax: 120,
  rip: 128,
  cs: 136,
  eflags: 144,
  rsp: 152,
  ss: 160,
} as const;
