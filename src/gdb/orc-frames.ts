import { addressOfKey, keyOf } from "../symbols/tables/address.js";
import { cfaOpcode, cfiEntry } from "../symbols/unwind/cfi-layout.js";
import { dwarfRegisters, registerNumber as register } from "../symbols/unwind/cfi-registers.js";
import type { OrcEntry, OrcTable } from "../symbols/unwind/orc.js";
import { orcRegister, orcType, pointerRegisters } from "../symbols/unwind/orc-layout.js";
import { ByteWriter } from "./byte-writer.js";

/**
 * Translates a kernel's ORC tables into DWARF call frame information (`.debug_frame`). GDB does not read ORC; with
 * these it unwinds a stock kernel exactly, through functions without frame pointers, interrupts and system calls.
 *
 * Sources: DWARF 5, section 6.4; Linux, arch/x86/kernel/unwind_orc.c, whose rules these are.
 */

/** The most rows of one FDE. For each frame, GDB executes half of them on average. */
const mostRows = 32;
/** DW_OP_*. */
const operation = { deref: 0x06, breg0: 0x70, plusConstant: 0x23, plus: 0x22, constant: 0x11 } as const;

/** The kind of frame that all rows of an FDE have, which its CIE states. */
type FrameClass = "function" | "interrupted";

/** Registers that ORC does not track. */
const unfollowed = [
  register.rax,
  register.rdx,
  register.rcx,
  register.rbx,
  register.rsi,
  register.rdi,
  register.r8,
  register.r9,
  register.r10,
  register.r11,
  register.r12,
  register.r13,
  register.r14,
  register.r15,
];
/** Offsets of the registers in the frame of interrupted code. */
const saved = dwarfRegisters.map((name) => [register[name], pointerRegisters[name]] as const);

const bases: Readonly<Record<number, number>> = {
  [orcRegister.dx]: register.rdx,
  [orcRegister.di]: register.rdi,
  [orcRegister.bp]: register.rbp,
  [orcRegister.sp]: register.rsp,
  [orcRegister.r10]: register.r10,
  [orcRegister.r13]: register.r13,
  [orcRegister.ax]: register.rax,
};

/**
 * Encodes a table. Cost: 0.3 s and 6 MB for a stock kernel.
 *
 * @param slide what KASLR added to the table's addresses
 */
export function encodeOrcFrames(table: OrcTable, slide: bigint): Uint8Array {
  const out = new ByteWriter();
  const cies: Record<FrameClass, number> = {
    function: writeCie(out, "function"),
    interrupted: writeCie(out, "interrupted"),
  };
  const moved = keyOf(slide);
  // The table's last entry is an end mark.
  for (let i = 0; i < table.count - 1; ) {
    const kind = classOf(table.type(i));
    let end = i + 1;
    while (end < table.count - 1 && end - i < mostRows && classOf(table.type(end)) === kind) end++;
    if (table.place(end) > table.place(i)) writeFde(out, cies[kind], table, i, end, moved);
    i = end;
  }
  return out.finish();
}

function classOf(type: number): FrameClass {
  return type === orcType.registers || type === orcType.partialRegisters ? "interrupted" : "function";
}

/**
 *     u32 length | u32 id ~0 | u8 version 3 | "zS" or "" | code alignment 1 | data alignment 1 | return address 16
 *
 * `S`: the caller was interrupted, so that its pc is the address of the next instruction, not a return address.
 */
function writeCie(out: ByteWriter, kind: FrameClass): number {
  const start = out.length;
  const length = out.reserve32();
  out.u32(cfiEntry.cieIdDebug);
  out.u8(3);
  out.text(kind === "interrupted" ? "zS\0" : "\0");
  out.uleb(1);
  out.sleb(1);
  out.uleb(register.rip);
  if (kind === "interrupted") out.uleb(0); // no augmentation data
  out.u8(cfaOpcode.defCfa);
  out.uleb(register.rsp);
  out.uleb(8);
  if (kind === "function") {
    savedAt(out, register.rip, -8);
    for (const number of unfollowed) {
      out.u8(cfaOpcode.undefined);
      out.uleb(number);
    }
  }
  out.u8(cfaOpcode.sameValue);
  out.uleb(register.rbp);
  close(out, length);
  return start;
}

/** `u32 length | u32 CIE | u64 first address | u64 bytes | instructions`. */
function writeFde(
  out: ByteWriter,
  cie: number,
  table: OrcTable,
  first: number,
  end: number,
  moved: number,
): void {
  const length = out.reserve32();
  out.u32(cie);
  const start = table.place(first);
  out.u64(addressOfKey(start + moved));
  out.u64(BigInt(table.place(end) - start));
  const isInterrupted = classOf(table.type(first)) === "interrupted";
  if (isInterrupted) out.uleb(0);
  let at = start;
  for (let i = first; i < end; i++) {
    const place = table.place(i);
    if (place > at) advance(out, place - at);
    at = place;
    writeRow(out, table.entry(i), i > first);
  }
  close(out, length);
}

function advance(out: ByteWriter, delta: number): void {
  if (delta < 0x40) {
    out.u8(cfaOpcode.advanceLoc | delta);
  } else if (delta < 0x100) {
    out.u8(cfaOpcode.advanceLoc1);
    out.u8(delta);
  } else {
    out.u8(cfaOpcode.advanceLoc4);
    out.u32(delta);
  }
}

function writeRow(out: ByteWriter, entry: OrcEntry, isLater: boolean): void {
  if (!writeCfa(out, entry)) {
    // The outermost frame, or one of which nothing is known.
    out.u8(cfaOpcode.undefined);
    out.uleb(register.rip);
    return;
  }
  switch (entry.type) {
    case orcType.registers:
      for (const [number, offset] of saved) savedAt(out, number, offset);
      return;
    case orcType.partialRegisters:
      // The CFA is the address of the five words that the processor pushed.
      savedAt(out, register.rip, 0);
      savedAt(out, register.rsp, pointerRegisters.rsp - pointerRegisters.rip);
      if (isLater) for (const number of unfollowed) restore(out, number);
      break;
    default:
      if (isLater) restore(out, register.rip);
  }
  writeBp(out, entry, isLater);
}

/** @returns false when the caller cannot be found */
function writeCfa(out: ByteWriter, { type, spRegister, spOffset }: OrcEntry): boolean {
  if (type === orcType.undefined || type === orcType.endOfStack) return false;
  const base = bases[spRegister];
  if (base !== undefined) {
    out.u8(cfaOpcode.defCfaSf);
    out.uleb(base);
    out.sleb(spOffset);
    return true;
  }
  const expression = new ByteWriter();
  if (spRegister === orcRegister.bpIndirect) {
    loadFrom(expression, register.rbp, spOffset);
    expression.u8(operation.deref);
  } else if (spRegister === orcRegister.spIndirect) {
    loadFrom(expression, register.rsp, 0);
    expression.u8(operation.deref);
    expression.u8(operation.constant);
    expression.sleb(spOffset);
    expression.u8(operation.plus);
  } else {
    return false;
  }
  out.u8(cfaOpcode.defCfaExpression);
  block(out, expression);
  return true;
}

function writeBp(out: ByteWriter, { bpRegister, bpOffset }: OrcEntry, isLater: boolean): void {
  if (bpRegister === orcRegister.previousSp) {
    savedAt(out, register.rbp, bpOffset);
  } else if (bpRegister === orcRegister.bp) {
    const expression = new ByteWriter();
    loadFrom(expression, register.rbp, bpOffset);
    out.u8(cfaOpcode.expression);
    out.uleb(register.rbp);
    block(out, expression);
  } else if (isLater) {
    restore(out, register.rbp);
  }
}

function savedAt(out: ByteWriter, number: number, offset: number): void {
  out.u8(cfaOpcode.offsetExtendedSf);
  out.uleb(number);
  out.sleb(offset);
}

function restore(out: ByteWriter, number: number): void {
  out.u8(cfaOpcode.restore | number);
}

function loadFrom(expression: ByteWriter, number: number, offset: number): void {
  expression.u8(operation.breg0 + number);
  expression.sleb(offset);
}

function block(out: ByteWriter, expression: ByteWriter): void {
  const bytes = expression.finish();
  out.uleb(bytes.length);
  out.bytes(bytes);
}

/** Pads to the next multiple of 8, and fills the length in. */
function close(out: ByteWriter, length: number): void {
  while ((out.length - length - 4) % 8 !== 4) out.u8(cfaOpcode.nop);
  out.fill32(length, out.length - length - 4);
}
