import { kernelAddress } from "../../symbols/kernel/kaslr.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import { decodeInstruction, type Instruction } from "../stack/x86-instruction.js";

/**
 * Where a system call has its result, in a kernel that has built the way back into each function that carries calls out
 * (Linux 6.16 and later): the instruction that turns interrupts off before the task's work is looked at. Signals come
 * after it.
 */
export interface CallExit {
  /** The function it lies in. */
  readonly symbol: string;
  /** Bytes from the function's start. */
  readonly offset: number;
  /** The register that points to the caller's registers there. */
  readonly pointer: string;
}

/** Functions that carry out calls of one way, and those they do it through. */
const functions = [
  "do_syscall_64",
  "do_int80_syscall_32",
  "do_int80_emulation",
  "__do_fast_syscall_32",
  "do_fast_syscall_32",
  "do_SYSENTER_32",
];
/** No such function is larger. */
const largestFunction = 1 << 16;

const encodedRegisters = [
  ...["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"],
  ...["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"],
];

/**
 * Finds them in a kernel's code. A call's result goes to the caller's saved registers, by which the register that points
 * to them is known; then interrupts go off, by `cli` or, in a kernel that may run under a hypervisor which replaces it,
 * by a call through `pv_ops`.
 *
 * @param read the kernel's bytes at link addresses
 * @returns at most two in a function, the usual one first; none for a kernel that has a function of its own for them
 */
export function findCallExits(
  kernel: LinuxKernel,
  read: (address: bigint, length: number) => Uint8Array | undefined,
): CallExit[] {
  const { table } = kernel.symbols;
  const result = kernel.types?.findStruct("pt_regs")?.findMember("ax")?.byteOffset;
  if (result === undefined) return [];
  const addressOf = (name: string) => kernelAddress(table, name, 0n);
  const turnsOff = turnsInterruptsOff(kernel, addressOf("pv_ops"));
  return functions.flatMap((symbol) => {
    const address = addressOf(symbol);
    const size = address === undefined ? 0 : sizeOf(table.starts, Number(BigInt.asIntN(64, address)));
    const code = size > 0 ? read(address!, size) : undefined;
    if (!code) return [];
    let pointer: string | undefined;
    const exits: CallExit[] = [];
    for (const { offset, length } of instructions(code)) {
      pointer = storedTo(code.subarray(offset, offset + length), result) ?? pointer;
      if (pointer !== undefined && turnsOff(code, offset, length, address!)) {
        exits.push({ symbol, offset, pointer });
      }
    }
    return exits;
  });
}

/** From a symbol to the next one. */
function sizeOf(starts: Float64Array, start: number): number {
  let next = start + largestFunction;
  for (const one of starts) if (one > start && one < next) next = one;
  return next - start;
}

function* instructions(code: Uint8Array): Generator<{ readonly offset: number; readonly length: number }> {
  const one: Instruction = { length: 0, effect: 0, amount: 0, register: 0 };
  for (let offset = 0; offset < code.length; offset += one.length) {
    const known = decodeInstruction(0, (i) => code[offset + i] ?? -1, one);
    if (!known || one.length <= 0 || offset + one.length > code.length) return;
    yield { offset, length: one.length };
  }
}

/** Of `mov %rax,DISPLACEMENT(%REGISTER)` the register. */
function storedTo(code: Uint8Array, displacement: number): string | undefined {
  const [rex, opcode, modrm] = code;
  if ((rex !== 0x48 && rex !== 0x49) || opcode !== 0x89 || code.at(-1) !== displacement) return undefined;
  // ModRM: a displacement of one byte, from rax. r12 needs a byte more, rsp as well, which is no pointer to anything.
  if ((modrm! & 0xf8) !== 0x40) return undefined;
  const base = modrm! & 7;
  if (base === 4 ? rex !== 0x49 || code[3] !== 0x24 || code.length !== 5 : code.length !== 4)
    return undefined;
  return encodedRegisters[base + (rex === 0x49 ? 8 : 0)];
}

/** Tells `cli`, and `call *` of `pv_ops.irq.irq_disable`, which is replaced by it while the kernel starts. */
function turnsInterruptsOff(kernel: LinuxKernel, pvOps: bigint | undefined) {
  const member = kernel.types?.findStruct("paravirt_patch_template")?.findMember("irq.irq_disable");
  const slot = pvOps === undefined || !member ? undefined : pvOps + BigInt(member.byteOffset);
  return (code: Uint8Array, offset: number, length: number, address: bigint): boolean => {
    if (length === 1) return code[offset] === 0xfa;
    if (slot === undefined || length < 6 || code[offset] !== 0xff) return false;
    const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
    const target =
      code[offset + 1] === 0x15
        ? address + BigInt(offset + 6) + BigInt(view.getInt32(offset + 2, true))
        : code[offset + 1] === 0x14 && code[offset + 2] === 0x25 && length === 7
          ? BigInt(view.getInt32(offset + 3, true))
          : undefined;
    return target !== undefined && BigInt.asUintN(64, target) === slot;
  };
}
