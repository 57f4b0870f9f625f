import { createRequire } from "node:module";
import type * as Iced from "iced-x86";

const { Code, Decoder, DecoderOptions, FlowControl, Mnemonic } = createRequire(import.meta.url)(
  "iced-x86",
) as typeof Iced;

/** What an instruction may do to the flow of control, as the independent decoder iced-x86 reads its bytes. */
export interface Instruction {
  readonly length: number;
  readonly flow: Flow;
  /** Where a direct transfer goes. */
  readonly target?: bigint;
  /** May the same address be executed again without any transfer (`rep`)? */
  readonly repeats: boolean;
  /** Does it write CR0 or load a code segment, so that the processor's mode must be asked again? */
  readonly changesMode: boolean;
  /** The instruction as text, for messages. */
  readonly text: string;
}

export type Flow =
  | "next"
  | "halt"
  | "pause"
  | "jump"
  | "conditional"
  | "call"
  | "return"
  | "indirect-jump"
  | "indirect-call"
  | "syscall"
  | "sysreturn"
  | "trap"
  | "iret"
  | "far";

/**
 * Decodes the instruction at linear address `at`. Undefined when the bytes are none: the processor then faults.
 *
 * @param base the code segment's base: near targets wrap inside the segment, not inside linear memory
 */
export function decode(
  bytes: Uint8Array,
  bitness: 16 | 32 | 64,
  at: bigint,
  base: bigint,
): Instruction | undefined {
  const decoder = new Decoder(bitness, bytes, DecoderOptions.None);
  decoder.ip = at - base;
  const instruction = decoder.decode();
  try {
    if (instruction.isInvalid) return undefined;
    const flow = flowOf(instruction);
    const direct = flow === "jump" || flow === "conditional" || flow === "call";
    return {
      length: instruction.length,
      flow,
      ...(direct && { target: base + instruction.nearBranchTarget }),
      repeats: instruction.isStringInstruction && (instruction.hasRepPrefix || instruction.hasRepnePrefix),
      changesMode:
        flow === "far" ||
        flow === "iret" ||
        instruction.code === Code.Mov_cr_r32 ||
        instruction.code === Code.Mov_cr_r64 ||
        instruction.mnemonic === Mnemonic.Lmsw,
      text: Mnemonic[instruction.mnemonic]!.toLowerCase(),
    };
  } finally {
    instruction.free();
    decoder.free();
  }
}

function flowOf(instruction: Iced.Instruction): Flow {
  switch (instruction.mnemonic) {
    case Mnemonic.Syscall:
    case Mnemonic.Sysenter:
      return "syscall";
    case Mnemonic.Sysret:
    case Mnemonic.Sysretq:
    case Mnemonic.Sysexit:
    case Mnemonic.Sysexitq:
      return "sysreturn";
    case Mnemonic.Iret:
    case Mnemonic.Iretd:
    case Mnemonic.Iretq:
      return "iret";
    case Mnemonic.Retf:
    case Mnemonic.Rsm:
      return "far";
    case Mnemonic.Pause:
      return "pause";
    case Mnemonic.Hlt:
    case Mnemonic.Mwait:
      return "halt";
  }
  const farImmediate = instruction.isJmpFar || instruction.isCallFar;
  if (farImmediate || instruction.isJmpFarIndirect || instruction.isCallFarIndirect) return "far";
  switch (instruction.flowControl) {
    case FlowControl.UnconditionalBranch:
      return "jump";
    case FlowControl.IndirectBranch:
      return "indirect-jump";
    case FlowControl.ConditionalBranch:
      return "conditional";
    case FlowControl.Return:
      return "return";
    case FlowControl.Call:
      return "call";
    case FlowControl.IndirectCall:
      return "indirect-call";
    case FlowControl.Interrupt:
    case FlowControl.Exception:
      return "trap";
    default:
      return "next";
  }
}
