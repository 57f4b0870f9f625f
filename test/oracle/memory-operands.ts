import { createRequire } from "node:module";
import type * as Iced from "iced-x86";

const { Decoder, DecoderOptions, InstructionInfoFactory, MemorySizeExt, Mnemonic, OpAccess, Register } =
  createRequire(import.meta.url)("iced-x86") as typeof Iced;

/** Bytes an instruction reads or writes. */
export interface Operand {
  readonly address: bigint;
  /** 0: unknown. */
  readonly length: number;
  readonly read: boolean;
  readonly write: boolean;
  /** The access may not happen. */
  readonly conditional: boolean;
}

export interface Operands {
  readonly operands: readonly Operand[];
  /** The processor makes further accesses for it: to descriptors, frames, processor state. */
  readonly more: boolean;
  readonly text: string;
}

/** General registers by iced's names of their 64-bit forms, and segment bases. */
export type Registers = (name: string) => bigint;

const system = new Set(
  [
    "Iretq",
    "Iret",
    "Iretd",
    "Ltr",
    "Lldt",
    "Retf",
    "Int",
    "Int1",
    "Int3",
    "Into",
    "Sysexit",
    "Verr",
    "Verw",
    "Lar",
    "Lsl",
  ].map((name) => Mnemonic[name as keyof typeof Mnemonic]),
);
const state = /^(f?xsave|f?xrstor|fn?save|frstor|fn?stenv|fldenv)/;
const factory = new InstructionInfoFactory();

/** What the 64-bit instruction at `at` accesses, by iced-x86; undefined when the bytes are none. */
export function memoryOperands(bytes: Uint8Array, at: bigint, registers: Registers): Operands | undefined {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = at;
  const instruction = decoder.decode();
  try {
    if (instruction.isInvalid) return undefined;
    const text = instruction.toString();
    const operands: Operand[] = [];
    const repeats =
      instruction.isStringInstruction && (instruction.hasRepPrefix || instruction.hasRepnePrefix);
    const idle = repeats && registers("RCX") === 0n;
    const info = factory.info(instruction);
    for (const used of idle ? [] : info.usedMemory()) {
      const operand = operandOf(used, registers, repeats ? instruction.memorySize : used.memorySize);
      if (operand) operands.push(operand);
      used.free();
    }
    const { mnemonic } = instruction;
    const segment = mnemonic === Mnemonic.Mov && /\b[cdefgs]s\b,/.test(text);
    const far = mnemonic === Mnemonic.Jmp || mnemonic === Mnemonic.Call ? /far|fword|:/.test(text) : false;
    const more =
      system.has(mnemonic) || segment || far || state.test(text) || /^l?s[sd] |^lfs|^lgs/.test(text);
    info.free();
    return { operands, more, text };
  } finally {
    instruction.free();
    decoder.free();
  }
}

function operandOf(used: Iced.UsedMemory, registers: Registers, size: Iced.MemorySize): Operand | undefined {
  const { access } = used;
  if (access === OpAccess.None || access === OpAccess.NoMemAccess) return undefined;
  const value = (register: Iced.Register) =>
    register === Register.None ? 0n : registers(Register[register]!.toUpperCase());
  let offset = value(used.base) + value(used.index) * BigInt(used.scale) + used.displacement;
  offset = BigInt.asUintN(64, offset);
  const base =
    used.segment === Register.FS || used.segment === Register.GS
      ? registers(`${Register[used.segment]}_BASE`)
      : 0n;
  return {
    address: BigInt.asUintN(64, base + offset),
    length: MemorySizeExt.size(size),
    read: [OpAccess.Read, OpAccess.CondRead, OpAccess.ReadWrite, OpAccess.ReadCondWrite].includes(access),
    write: [OpAccess.Write, OpAccess.CondWrite, OpAccess.ReadWrite, OpAccess.ReadCondWrite].includes(access),
    conditional: [OpAccess.CondRead, OpAccess.CondWrite, OpAccess.ReadCondWrite].includes(access),
  };
}
