import type { AddressKey } from "../symbols/address.js";
import { registerNumber as register } from "../symbols/cfi-registers.js";
import { pointerRegisters } from "../symbols/orc-layout.js";
import type { FrameKind } from "./stack-frame.js";
import type { StackMemory } from "./stack-memory.js";
import { loadRegisters } from "./unwind-saved.js";
import { codeSegment, isUserAddress, stackSegment, type UnwindStep } from "./unwind-step.js";

/** Words above rsp in which the frame for `iret` may lie while the last registers are restored. */
const searchedWords = 24;
/** Kernel stacks end with a page. */
const pageBytes = 4096;
/** `sysret` code pushes rsp and rdi. */
const deepestReturn = 16;
const savedSpFromRdi = pointerRegisters.rsp - pointerRegisters.rdi;
/** `struct pt_regs` ends at the stack's top with ss, and before it rsp. */
const fromTop = { ss: -8, rsp: -16 } as const;

/**
 * The few instructions at the kernel's edge of which its own tables say nothing: `syscall` has entered and the user's
 * registers are not saved yet, or they are restored already and `sysret` or `iret` comes next. All registers but rcx, r11
 * and rsp are still, or again, the user's.
 *
 * @param kind what enters here, by its name
 * @returns false when this is no such place, or a page is missing
 */
export function stepAtEdge(step: UnwindStep, memory: StackMemory, kind: FrameKind | undefined): boolean {
  const { current } = step;
  if (!step.isExact) return false;
  const sp = current.key(register.rsp);
  const returnsTo = current.key(register.rcx);
  if (isUserAddress(sp)) {
    // syscall leaves rsp, puts rip into rcx; sysret takes it from there.
    if (!isUserAddress(returnsTo) || returnsTo === 0) return false;
    return toUser(step, returnsTo, sp, kind ?? "syscall");
  }
  for (let i = 0; i + 4 < searchedWords; i++) {
    const at = sp + i * 8;
    if (!memory.load(at)) return false;
    const pc = memory.key;
    if (!isUserAddress(pc) || !memory.load(at + 8)) continue;
    const cs = memory.key;
    if (cs !== codeSegment.user && cs !== codeSegment.user32) continue;
    if (!memory.load(at + 32) || memory.key !== stackSegment.user || !memory.load(at + 24)) continue;
    toUser(step, pc, memory.key, kind ?? "interrupt");
    step.next.cs = cs;
    return true;
  }
  if (memory.missing !== undefined || kind !== "syscall" || !isUserAddress(returnsTo)) return false;
  const userSp = spOnStack(step, memory, sp);
  if (memory.missing !== undefined) return false;
  return toUser(step, returnsTo, userSp, kind);
}

/**
 * Where the user's rsp lies between a switch of stacks and the instruction that takes it: at the top of the task's stack,
 * where `syscall` puts it behind ss; or at the top of the page of the entry stack, from where `sysret` takes it.
 */
function spOnStack(step: UnwindStep, memory: StackMemory, sp: AddressKey): AddressKey | undefined {
  const top = Math.ceil(sp / pageBytes) * pageBytes;
  if (top === sp) {
    // Nothing is on the new stack yet: rdi still points into the registers saved on the old one.
    const rdi = step.current.key(register.rdi);
    return rdi < 0 && memory.load(rdi + savedSpFromRdi) && isUserAddress(memory.key) ? memory.key : undefined;
  }
  if (!memory.load(top + fromTop.ss)) return undefined;
  const highest = memory.key;
  if (highest !== stackSegment.user) {
    return top - sp <= deepestReturn && isUserAddress(highest) ? highest : undefined;
  }
  return top - sp >= -fromTop.rsp && memory.load(top + fromTop.rsp) ? memory.key : undefined;
}

/**
 * Where a new task begins, of which the kernel's tables say that nothing called it: what it will go on with in user space
 * lies on its stack, as its parent's system call left it. A kernel thread has nothing there.
 */
export function stepAtFork(step: UnwindStep, memory: StackMemory): boolean {
  const at = step.current.key(register.rsp);
  if (!memory.load(at + pointerRegisters.ss)) return false;
  const ss = memory.key;
  if (ss !== stackSegment.user || !memory.load(at + pointerRegisters.cs)) return false;
  const cs = memory.key;
  if (cs !== codeSegment.user && cs !== codeSegment.user32) return false;
  if (!loadRegisters(step, memory, at, true)) return false;
  step.by = "entry";
  step.kind = "syscall";
  step.cfa = at;
  step.reliable = true;
  step.nextIsExact = true;
  return true;
}

function toUser(step: UnwindStep, pc: AddressKey, sp: AddressKey | undefined, kind: FrameKind): boolean {
  const { current, next } = step;
  next.copyFrom(current);
  next.cs = codeSegment.user;
  next.setKey(register.rip, pc);
  if (sp === undefined) next.known &= ~(1 << register.rsp);
  else next.setKey(register.rsp, sp);
  step.by = "entry";
  step.kind = kind;
  step.cfa = Number.NaN;
  step.reliable = true;
  step.nextIsExact = true;
  return true;
}
