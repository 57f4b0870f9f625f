import type { HitPiece } from "../../qemu/probe-hits.js";
import { errorName } from "./error-names.js";
import { signalText } from "./signal-names.js";
import { pointerText } from "./text.js";

/** What is read of `struct kernel_siginfo`. */
export const siginfoBytes = 48;

/** A signal, as its receiver is told of it. */
export interface SignalFacts {
  readonly signal: number;
  /** `SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, …}` */
  readonly text: string;
}

/** The name of a system call by its number, as a `struct siginfo` carries it. */
export type CallName = (number: number, isCompat: boolean) => string | undefined;

/** Source: include/uapi/asm-generic/siginfo.h. */
const anyCodes: Readonly<Record<number, string>> = {
  0: "SI_USER",
  128: "SI_KERNEL",
  [-1]: "SI_QUEUE",
  [-2]: "SI_TIMER",
  [-3]: "SI_MESGQ",
  [-4]: "SI_ASYNCIO",
  [-5]: "SI_SIGIO",
  [-6]: "SI_TKILL",
  [-7]: "SI_DETHREAD",
  [-60]: "SI_ASYNCNL",
};
/** Codes from 1 on. Source: the same. */
const codes: Readonly<Record<string, readonly string[]>> = {
  SIGCHLD: prefixed("CLD_", "EXITED KILLED DUMPED TRAPPED STOPPED CONTINUED"),
  SIGSEGV: prefixed("SEGV_", "MAPERR ACCERR BNDERR PKUERR ACCADI ADIDERR ADIPERR MTEAERR MTESERR CPERR"),
  SIGBUS: prefixed("BUS_", "ADRALN ADRERR OBJERR MCEERR_AR MCEERR_AO"),
  SIGILL: prefixed("ILL_", "ILLOPC ILLOPN ILLADR ILLTRP PRVOPC PRVREG COPROC BADSTK"),
  SIGFPE: [
    ...prefixed("FPE_", "INTDIV INTOVF FLTDIV FLTOVF FLTUND FLTRES FLTINV FLTSUB"),
    ...["", "", "", "", "", "FPE_FLTUNK", "FPE_CONDTRAP"],
  ],
  SIGTRAP: prefixed("TRAP_", "BRKPT TRACE BRANCH HWBKPT UNK PERF"),
  SIGIO: prefixed("POLL_", "IN OUT MSG ERR PRI HUP"),
  SIGSYS: prefixed("SYS_", "SECCOMP USER_DISPATCH"),
};
const faults: ReadonlySet<string> = new Set(["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"]);
/** Source: include/uapi/linux/audit.h. */
const architectures: Readonly<Record<number, string>> = {
  1073741827: "AUDIT_ARCH_I386",
  3221225534: "AUDIT_ARCH_X86_64",
};
const x32Bit = 0x4000_0000;

function prefixed(prefix: string, names: string): string[] {
  return names.split(" ").map((name) => prefix + name);
}

/** A `struct siginfo` as strace shows it; undefined when it could not be read, or holds no signal. */
export function signalFacts(
  { bytes }: Pick<HitPiece, "bytes">,
  callName?: CallName,
): SignalFacts | undefined {
  if (bytes.length < siginfoBytes) return undefined;
  const info = new Siginfo(bytes);
  const { signal, name, code } = info;
  if (signal <= 0 || signal > 64) return undefined;
  const fields = [`si_signo=${name}`, `si_code=${codeText(name, code)}`];
  const error = info.int(4);
  if (error !== 0) fields.push(`si_errno=${errorName(error)}`);
  fields.push(...(code <= 0 ? sentFields(info) : kernelFields(info, callName)));
  return { signal, text: `${name} {${fields.join(", ")}}` };
}

/** Reads a `struct siginfo`. Source: include/uapi/asm-generic/siginfo.h. */
class Siginfo {
  readonly signal: number;
  readonly name: string;
  readonly code: number;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.signal = this.int(0);
    this.name = signalText(BigInt(this.signal));
    this.code = this.int(8);
  }

  int(offset: number): number {
    return this.view.getInt32(offset, true);
  }

  unsigned(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  long(offset: number): bigint {
    return this.view.getBigInt64(offset, true);
  }

  pointer(offset: number): bigint {
    return this.view.getBigUint64(offset, true);
  }
}

function codeText(name: string, code: number): string {
  return anyCodes[code] || codes[name]?.[code - 1] || hexOf(code >>> 0);
}

/** Who sent it, or which timer. */
function sentFields(info: Siginfo): string[] {
  switch (anyCodes[info.code]) {
    case "SI_USER":
    case "SI_TKILL":
      return senderFields(info);
    case "SI_TIMER":
      return [`si_timerid=${hexOf(info.int(16))}`, `si_overrun=${info.int(20)}`, ...valueFields(info)];
    case "SI_SIGIO":
      return bandFields(info);
    default:
      return [...senderFields(info), ...(info.pointer(24) === 0n ? [] : valueFields(info))];
  }
}

/** What the kernel found. */
function kernelFields(info: Siginfo, callName: CallName | undefined): string[] {
  const { name, code } = info;
  if (faults.has(name)) return faultFields(info);
  if (name === "SIGCHLD") {
    const status = info.int(24);
    const shown = codeText(name, code) === "CLD_EXITED" ? String(status) : signalText(BigInt(status));
    return [
      ...senderFields(info),
      `si_status=${shown}`,
      `si_utime=${ticks(info.long(32))}`,
      `si_stime=${ticks(info.long(40))}`,
    ];
  }
  if (name === "SIGIO") return code <= 6 ? bandFields(info) : [];
  if (name === "SIGSYS") return callFields(info, callName);
  return [
    ...(info.int(16) === 0 && info.int(20) === 0 ? [] : senderFields(info)),
    ...(info.pointer(24) === 0n ? [] : valueFields(info)),
  ];
}

/** A refused system call: by seccomp's filter, or one that the program wants to dispatch itself. */
function callFields(info: Siginfo, callName: CallName | undefined): string[] {
  const number = info.int(24);
  const architecture = info.unsigned(28);
  const call = callName?.(number, architectures[architecture] === "AUDIT_ARCH_I386");
  const bare = number & ~x32Bit;
  const shown = call ? `__NR_${call}` : hexOf(bare === number ? number : number >>> 0);
  return [
    `si_call_addr=${pointerText(info.pointer(16))}`,
    `si_syscall=${shown}`,
    `si_arch=${architectures[architecture] ?? hexOf(architecture)}`,
  ];
}

function faultFields(info: Siginfo): string[] {
  const fields = [`si_addr=${pointerText(info.pointer(16))}`];
  switch (codeText(info.name, info.code)) {
    case "SEGV_BNDERR":
      fields.push(`si_lower=${pointerText(info.pointer(32))}`, `si_upper=${pointerText(info.pointer(40))}`);
      break;
    case "SEGV_PKUERR":
      fields.push(`si_pkey=${info.unsigned(32)}`);
      break;
    case "BUS_MCEERR_AR":
    case "BUS_MCEERR_AO":
      fields.push(`si_addr_lsb=${hexOf(info.unsigned(24) & 0xffff)}`);
      break;
  }
  return fields;
}

function senderFields(info: Siginfo): string[] {
  return [`si_pid=${info.int(16)}`, `si_uid=${info.unsigned(20)}`];
}

/** The value that came with it. */
function valueFields(info: Siginfo): string[] {
  return [`si_int=${info.int(24)}`, `si_ptr=${pointerText(info.pointer(24))}`];
}

function bandFields(info: Siginfo): string[] {
  return [`si_band=${info.long(16)}`, `si_fd=${info.int(24)}`];
}

/** `USER_HZ`, 100 of them a second; strace says how long that is. */
function ticks(count: bigint): string {
  if (count === 0n) return "0";
  const digits = String(count).padStart(3, "0");
  return `${count} /* ${digits.slice(0, -2)}.${digits.slice(-2)} s */`;
}

function hexOf(value: number): string {
  return value === 0 ? "0" : `0x${(value >>> 0).toString(16)}`;
}

/** How a task ended, as strace says it. */
export function exitText(code: number): string {
  const signal = code & 0x7f;
  if (signal === 0) return `exited with ${(code >> 8) & 0xff}`;
  return `killed by ${signalText(BigInt(signal))}${code & 0x80 ? " (core dumped)" : ""}`;
}
