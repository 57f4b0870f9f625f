import { VmtapeError } from "../../base/errors.js";
import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import type { StructType } from "../../symbols/types/type.js";
import { type Code, constant, register } from "../pass/collect-code.js";
import { currentCode, type ProbeNames } from "../pass/probe-names.js";
import type { CallExit } from "./exits.js";
import type { CallPlace } from "./form.js";

/**
 * How a program came to call. `x32`: as others, with the numbers of programs with short pointers. `vsyscall`: through the
 * page of that name, whose calls the kernel carries out.
 */
export type CallWay = "syscall" | "x32" | "int 0x80" | "sysenter" | "vsyscall";

/** A function of the kernel that every call of one way passes, with the caller's registers in memory. */
export interface CallEntry {
  readonly symbol: string;
  readonly address: bigint;
  readonly way: CallWay;
  readonly isCompat: boolean;
  /** The register that points to them. */
  readonly pointer: string;
  /** The member of `struct pt_regs` with the call's number. */
  readonly number: "orig_ax" | "ax";
  /** Where such a call has its result. */
  readonly exit: ExitPlace;
}

/** An instruction before which the caller's registers in memory have a call's result. */
export interface ExitPlace {
  readonly address: bigint;
  /** The register that points to them. */
  readonly pointer: string;
  /** Whether 32-bit calls end there; undefined where all do. */
  readonly isCompat: boolean | undefined;
}

/** Where `struct pt_regs` keeps arguments. Source: System V ABI, section A.2.1; arch/x86/entry/entry_64_compat.S. */
const arguments64 = ["di", "si", "dx", "r10", "r8", "r9"] as const;
const argumentsCompat = ["bx", "cx", "dx", "si", "di", "bp"] as const;
/** Called with the caller's registers once the result is among them. */
const exitSymbol = "syscall_exit_to_user_mode";
/** `TS_COMPAT` in `thread_info.status`: the call is a 32-bit one. */
export const compatStatus = 2;

const entries: readonly Omit<CallEntry, "address" | "pointer" | "exit">[] = [
  { symbol: "do_syscall_64", way: "syscall", isCompat: false, number: "orig_ax" },
  { symbol: "do_int80_syscall_32", way: "int 0x80", isCompat: true, number: "orig_ax" },
  { symbol: "do_int80_emulation", way: "int 0x80", isCompat: true, number: "ax" },
  { symbol: "do_fast_syscall_32", way: "sysenter", isCompat: true, number: "orig_ax" },
  { symbol: "do_SYSENTER_32", way: "sysenter", isCompat: true, number: "orig_ax" },
];

/** Functions that carry out the calls of an entry in its place. */
const carriers: Readonly<Record<string, string>> = {
  do_fast_syscall_32: "__do_fast_syscall_32",
  do_SYSENTER_32: "__do_fast_syscall_32",
};

/** Where a kernel's system calls begin and end, and where their numbers, arguments and results are. */
export class SyscallPlaces {
  readonly entries: readonly CallEntry[];
  /** All places where calls have their results. */
  readonly exits: readonly ExitPlace[];
  readonly registers: StructType;
  private readonly program: CallPlace["program"];

  /**
   * @param inlined where results are in a kernel without a function for it, from `SyscallTable`
   * @throws VmtapeError `not-found` when the kernel lacks the symbols or types
   */
  constructor(names: ProbeNames, release: string | undefined, inlined: readonly CallExit[]) {
    const registers = names.types.findStruct("pt_regs");
    if (!registers?.findMember("orig_ax")) {
      throw new VmtapeError(
        "not-found",
        `Linux ${release ?? ""} carries no BTF, so what its system calls are given cannot be read`,
      );
    }
    this.registers = registers;
    this.program = programOf(names);
    const own = names.address(exitSymbol);
    const exitsOf = (entry: (typeof entries)[number]): ExitPlace[] => {
      if (own !== undefined) return [{ address: own, pointer: "rdi", isCompat: undefined }];
      const symbols = [entry.symbol, carriers[entry.symbol]];
      return inlined
        .filter(({ symbol }) => symbols.includes(symbol))
        .map(({ symbol, offset, pointer }) => {
          const address = names.address(symbol)! + BigInt(offset);
          return { address, pointer, isCompat: entry.isCompat };
        });
    };
    const exits = new Map<bigint, ExitPlace>();
    this.entries = entries.flatMap((entry) => {
      const address = names.address(entry.symbol);
      const own = address === undefined ? [] : exitsOf(entry);
      for (const exit of own) exits.set(exit.address, exit);
      const [exit] = own;
      if (address === undefined || !exit) return [];
      return [{ ...entry, address, pointer: pointerOf(entry.symbol, names, release), exit }];
    });
    this.exits = [...exits.values()];
    if (this.entries.length === 0) {
      const isKnown = entries.some(({ symbol }) => names.address(symbol) !== undefined);
      const got = isKnown ? exitSymbol : entries[0]!.symbol;
      throw new VmtapeError("not-found", `the kernel has no symbol '${got}'`, { got });
    }
  }

  /** Names of the members with the arguments. */
  members(isCompat: boolean): readonly string[] {
    return isCompat ? argumentsCompat : arguments64;
  }

  /** All the caller's registers, in one piece. */
  block(pointer: string): ProbeItem {
    const { size } = this.registers;
    return { collect: "memory", address: register(pointer).bytes, length: constant(size).bytes, most: size };
  }

  /** The numbers in such a piece; undefined when it could not be read. */
  read(piece: HitPiece | undefined, isCompat: boolean, number: CallEntry["number"]) {
    if (piece?.bytes.length !== this.registers.size) return undefined;
    const view = new DataView(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
    const word = (member: string) => view.getBigUint64(this.offset(member), true);
    const narrow = (value: bigint) => (isCompat ? value & 0xffff_ffffn : value);
    const result = word("ax");
    return {
      number: Number(BigInt.asIntN(32, word(number))),
      arguments: this.members(isCompat).map((member) => narrow(word(member))),
      result: isCompat ? BigInt.asUintN(64, BigInt.asIntN(32, result)) : result,
    };
  }

  /** The arguments as code. */
  place(pointer: string, isCompat: boolean, atEnd: boolean): CallPlace {
    const members = this.members(isCompat);
    const word = (member: string) => this.word(pointer, member);
    return {
      argument: (i) => (isCompat ? word(members[i]!).and(0xffff_ffffn) : word(members[i]!)),
      stack: word("sp"),
      program: this.program,
      result: atEnd ? word("ax") : undefined,
    };
  }

  /** One of the caller's registers as code. */
  word(pointer: string, member: string): Code {
    return register(pointer).plus(this.offset(member)).follow();
  }

  private offset(member: string): number {
    return this.registers.member(member).byteOffset;
  }
}

/** The current task's program. */
function programOf(names: ProbeNames): CallPlace["program"] {
  const task = names.types.findStruct("task_struct")?.findMember("mm")?.byteOffset;
  const current = currentCode(names);
  const word = (member: string) => {
    const offset = names.types.findStruct("mm_struct")?.findMember(member)?.byteOffset;
    if (!current || task === undefined || offset === undefined) return constant(0);
    return current.follow().plus(task).follow().plus(offset).follow();
  };
  return {
    argumentStart: word("arg_start"),
    argumentEnd: word("arg_end"),
    environmentEnd: word("env_end"),
  };
}

/** Before 5.13 the registers were the second argument of `do_syscall_64`, and BTF may not tell. */
function pointerOf(symbol: string, { types }: ProbeNames, release: string | undefined): string {
  const parameters = types.findFunction(symbol)?.parameters;
  const index = parameters?.findIndex(({ name }) => name === "regs") ?? -1;
  if (index >= 0) return index === 1 ? "rsi" : "rdi";
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release ?? "") ?? [];
  const isOld = major !== undefined && Number(major) * 1000 + Number(minor) < 5013;
  return isOld && symbol === "do_syscall_64" ? "rsi" : "rdi";
}
