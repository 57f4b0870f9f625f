import { execFileSync } from "node:child_process";
import fc from "fast-check";
import {
  Code,
  Decoder,
  DecoderOptions,
  FlowControl,
  type Instruction,
  Mnemonic,
  OpKind,
  RegisterExt,
} from "iced-x86";
import { expect } from "vitest";

/**
 * The plugin's enumerations by number: endings of blocks, registers of targets, kinds of records (instructions.h,
 * branch-stream.h).
 */
const endings = ["unknown", "falls", "repeats", "branches", "goes", "anywhere", "traps", "may trap"] as const;
const kinds = [
  ...["jump", "conditional", "call", "return", "indirect jump", "indirect call"],
  ...["syscall", "sysreturn", "interrupt", "exception", "iret", "far"],
] as const;
const [other, memory, stack] = [-1, -2, -3] as const;
/** gdb's number of each register, by the processor's number. */
const gdbRegisters = [0, 2, 3, 1, 7, 6, 4, 5];

/** Bits of an instruction pointer after a near branch. */
const widths = new Map<OpKind, bigint>([
  [OpKind.NearBranch16, 16n],
  [OpKind.NearBranch32, 32n],
]);

interface InstructionClass {
  readonly ending: (typeof endings)[number];
  readonly kind?: string;
  readonly through?: number;
  readonly pops?: number;
  readonly target?: bigint;
  readonly loadsIdt: boolean;
}

const prefixes = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3, 0x41, 0x48, 0x4d];
const opcodes = [
  ...[
    0x70, 0x7f, 0xe0, 0xe1, 0xe2, 0xe3, 0xeb, 0xe8, 0xe9, 0xc2, 0xc3, 0xca, 0xcb, 0x9a, 0xea, 0xcf, 0xcc,
    0xf1,
  ],
  ...[0xcd, 0xce, 0xff, 0xff, 0xff, 0xa4, 0xa6, 0xab, 0xad, 0xae, 0x6c, 0x6f, 0xf4],
].map((byte) => [byte]);
const longOpcodes = [0x05, 0x07, 0x34, 0x35, 0xaa, 0x01, 0x80, 0x8f, 0x0b].map((byte) => [0x0f, byte]);

/** Sixteen bytes that begin with an instruction, most of them one that ends a block. */
export const anyInstruction: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.array(fc.constantFrom(...prefixes), { maxLength: 3 }),
    fc.oneof(
      fc.constantFrom(...opcodes),
      fc.constantFrom(...longOpcodes),
      fc.tuple(fc.integer({ min: 0, max: 255 })),
      fc.tuple(fc.constant(0x0f), fc.integer({ min: 0, max: 255 })),
    ),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  .map(([before, opcode, rest]) => Uint8Array.from([...before, ...opcode, ...rest]).subarray(0, 16));

/**
 * Compares the plugin's classes of instructions with iced's.
 *
 * @returns the kinds that were met
 */
export function expectTheSame(
  harness: string,
  bitness: 16 | 32 | 64,
  samples: readonly Uint8Array[],
): Set<string> {
  const at = bitness === 64 ? 0xffffffff81234560n : bitness === 32 ? 0xc0123450n : 0x7890n;
  const input: string[] = [];
  const expected: { text: string; bytes: string; wanted: InstructionClass; mask: bigint }[] = [];
  for (const bytes of samples) {
    // As QEMU has it, an operand-size prefix makes near branches 16 bits wide in 64-bit code, too: AMD's rule.
    const decoder = new Decoder(bitness, bytes, DecoderOptions.AMD);
    decoder.ip = at;
    const instruction = decoder.decode();
    const wanted = instruction.isInvalid ? undefined : classOf(instruction);
    if (wanted) {
      const hex = Buffer.from(bytes.subarray(0, instruction.length)).toString("hex");
      const width = widths.get(instruction.op0Kind) ?? 64n;
      input.push(`${instruction.nextIP.toString(16)} ${hex}`);
      expected.push({ text: instruction.toString(), bytes: hex, wanted, mask: (1n << width) - 1n });
    }
    instruction.free();
    decoder.free();
  }
  const lines = execFileSync(harness, {
    input: `${input.join("\n")}\n`,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  const answers = lines.trim().split("\n");
  expect(answers).toHaveLength(expected.length);
  const met = new Set<string>();
  expected.forEach(({ text, bytes, wanted, mask }, i) => {
    const [ending, kind, through, pops, target, loadsIdt] = answers[i]!.split(" ");
    const got: InstructionClass = {
      ending: endings[Number(ending)]!,
      ...(wanted.kind !== undefined && { kind: kinds[Number(kind)]! }),
      ...(wanted.through !== undefined && { through: Number(through) }),
      ...(wanted.pops !== undefined && { pops: Number(pops) }),
      ...(wanted.target !== undefined && { target: BigInt(`0x${target}`) & mask }),
      loadsIdt: loadsIdt === "1",
    };
    met.add(wanted.kind ?? wanted.ending);
    expect(got, `${bytes} ${text}`).toEqual({
      ...wanted,
      ...(wanted.target !== undefined && { target: wanted.target & mask }),
    });
  });
  return met;
}

/** The class by iced's account; undefined for instructions that QEMU does not execute. */
function classOf(instruction: Instruction): InstructionClass | undefined {
  const { mnemonic, op0Kind } = instruction;
  const loadsIdt = mnemonic === Mnemonic.Lidt || mnemonic === Mnemonic.Rsm;
  const anywhere = (kind: string, through: number, pops?: number): InstructionClass => ({
    ending: "anywhere",
    kind,
    through,
    loadsIdt,
    ...(pops !== undefined && { pops }),
  });
  const direct = (ending: "goes" | "branches", kind: string): InstructionClass => ({
    ending,
    kind,
    target: instruction.nearBranchTarget,
    loadsIdt,
  });
  const isFar = op0Kind === OpKind.FarBranch16 || op0Kind === OpKind.FarBranch32;
  const isFarPointer = instruction.isJmpFarIndirect || instruction.isCallFarIndirect;
  switch (mnemonic) {
    case Mnemonic.Ret:
      return anywhere("return", other, op0Kind === OpKind.Immediate16 ? instruction.immediate16 : 0);
    case Mnemonic.Retf:
      return anywhere("far", stack);
    case Mnemonic.Iret:
    case Mnemonic.Iretd:
    case Mnemonic.Iretq:
      return anywhere("iret", stack);
    case Mnemonic.Syscall:
    case Mnemonic.Sysenter:
      return anywhere("syscall", other);
    case Mnemonic.Sysret:
    case Mnemonic.Sysretq:
    case Mnemonic.Sysexit:
    case Mnemonic.Sysexitq:
      return anywhere("sysreturn", other);
    case Mnemonic.Rsm:
    case Mnemonic.Vmrun:
    case Mnemonic.Vmmcall:
      return anywhere("far", other);
    case Mnemonic.Int:
    case Mnemonic.Int3:
    case Mnemonic.Int1:
      return { ending: "traps", kind: "exception", loadsIdt };
    case Mnemonic.Into:
      return { ending: "may trap", kind: "exception", loadsIdt };
  }
  switch (instruction.flowControl) {
    case FlowControl.ConditionalBranch:
      return direct("branches", "conditional");
    case FlowControl.UnconditionalBranch:
      return isFar ? anywhere("far", other) : direct("goes", "jump");
    case FlowControl.Call:
      if (isFar) return anywhere("far", other);
      return instruction.isCallNear ? direct("goes", "call") : undefined; // hypercalls: undefined opcodes to QEMU
    case FlowControl.IndirectBranch:
    case FlowControl.IndirectCall: {
      const kind = instruction.flowControl === FlowControl.IndirectCall ? "indirect call" : "indirect jump";
      return anywhere(isFarPointer ? "far" : kind, throughOf(instruction));
    }
    case FlowControl.Next:
    case FlowControl.Exception:
      if (instruction.code === Code.INVALID) return undefined;
      return {
        ending:
          instruction.isStringInstruction && (instruction.hasRepPrefix || instruction.hasRepnePrefix)
            ? "repeats"
            : "falls",
        loadsIdt,
      };
    default:
      return undefined; // transactions, user interrupts, VMX: not QEMU's
  }
}

function throughOf(instruction: Instruction): number {
  if (instruction.op0Kind !== OpKind.Register) return memory;
  const number = RegisterExt.number(instruction.op0Register);
  return gdbRegisters[number] ?? number;
}
