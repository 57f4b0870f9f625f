/**
 * Signals of Linux on x86-64 by number, from 1 on. The guest's, whatever the host is. Source: Linux,
 * arch/x86/include/uapi/asm/signal.h.
 */
const names = [
  ...["SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE"],
  ...["SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT"],
  ...["SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU"],
  ...["SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS"],
] as const;

/** Signals of the guest that are asked for by name. */
export const signalNumber = { SIGKILL: 9, SIGCONT: 18 } as const;

/** `SIGRTMIN`. */
const firstRealtime = 32;
const lastSignal = 64;

/** `SIGINT`; of those that have only a number `SIGRTMIN`, `SIGRT_1` and so on; none as a number. */
export function signalText(value: bigint): string {
  const number = Number(BigInt.asIntN(32, value));
  if (number === firstRealtime) return "SIGRTMIN";
  if (number > firstRealtime && number <= lastSignal) return `SIGRT_${number - firstRealtime}`;
  return names[number - 1] ?? String(number);
}

/** A set of signals as strace has it: `[INT CHLD]`, and `~[KILL STOP]` when most are in it. */
export function signalSetText(bits: bigint): string {
  const all = Array.from({ length: lastSignal }, (_, i) => i + 1);
  const inside = all.filter((number) => (bits >> BigInt(number - 1)) & 1n);
  const inverted = inside.length >= 42;
  const shown = inverted ? all.filter((number) => !inside.includes(number)) : inside;
  const texts = shown.map((number) => signalText(BigInt(number)).replace(/^SIG/, ""));
  return `${inverted ? "~" : ""}[${texts.join(" ")}]`;
}
