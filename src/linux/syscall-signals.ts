import type { HitPiece } from "../qemu/probe-hits.js";
import { signalText } from "./syscall-flags.js";
import { pointerText } from "./syscall-text.js";

/** What is read of `struct kernel_siginfo`. */
export const siginfoBytes = 48;

/** A signal, as its receiver is told of it. */
export interface SignalFacts {
  readonly signal: number;
  /** `SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, …}` */
  readonly text: string;
}

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
};
const codes: Readonly<Record<string, readonly string[]>> = {
  SIGCHLD: ["EXITED", "KILLED", "DUMPED", "TRAPPED", "STOPPED", "CONTINUED"].map((name) => `CLD_${name}`),
  SIGSEGV: ["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
  SIGBUS: ["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"],
  SIGILL: ["OPC", "OPN", "ADR", "TRP", "PRV", "PRVREG", "COPROC", "BADSTK"].map((name) => `ILL_${name}`),
  SIGFPE: ["INTDIV", "INTOVF", "FLTDIV", "FLTOVF", "FLTUND", "FLTRES", "FLTINV"].map((name) => `FPE_${name}`),
  SIGTRAP: ["TRAP_BRKPT", "TRAP_TRACE"],
};
const faults: ReadonlySet<string> = new Set(["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"]);

/** A `struct siginfo` as strace shows it; undefined when it could not be read. */
export function signalFacts({ bytes }: HitPiece): SignalFacts | undefined {
  if (bytes.length < siginfoBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signal = view.getInt32(0, true);
  const code = view.getInt32(8, true);
  const name = signalText(BigInt(signal));
  const codeName = (code > 0 && codes[name]?.[code - 1]) || anyCodes[code] || String(code);
  const fields = [`si_signo=${name}`, `si_code=${codeName}`];
  if (faults.has(name) && code > 0) {
    fields.push(`si_addr=${pointerText(view.getBigUint64(16, true))}`);
  } else if (code <= 0 || name === "SIGCHLD") {
    fields.push(`si_pid=${view.getInt32(16, true)}`, `si_uid=${view.getUint32(20, true)}`);
  }
  if (name === "SIGCHLD" && code > 0) {
    const status = view.getInt32(24, true);
    fields.push(`si_status=${code === 1 ? status : signalText(BigInt(status))}`);
    const [user, system] = [view.getBigInt64(32, true), view.getBigInt64(40, true)];
    fields.push(`si_utime=${user}`, `si_stime=${system}`);
  }
  return { signal, text: `${name} {${fields.join(", ")}}` };
}

/** How a task ended, as strace says it. */
export function exitText(code: number): string {
  const signal = code & 0x7f;
  if (signal === 0) return `exited with ${(code >> 8) & 0xff}`;
  return `killed by ${signalText(BigInt(signal))}${code & 0x80 ? " (core dumped)" : ""}`;
}
