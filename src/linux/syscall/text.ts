import { errorName } from "./error-names.js";
import { octal } from "./flags.js";
import type { SyscallParameter } from "./syscalls.js";

/** Results below 0 and above this are errors. Source: include/linux/err.h, MAX_ERRNO. */
const mostErrors = 4095n;
/** `AT_FDCWD`. */
const currentDirectory = -100n;
/** Calls whose result is an address. */
const addressResults: ReadonlySet<string> = new Set(["mmap", "mmap2", "mremap", "brk", "shmat"]);

/** The name of an error that a system call gave; undefined when it gave none. */
export function errorOf(result: bigint): string | undefined {
  const signed = BigInt.asIntN(64, result);
  if (signed >= 0n || -signed > mostErrors) return undefined;
  return errorName(Number(-signed));
}

/** A result: a number, an address, or the error's name. */
export function formatResult(call: string, result: bigint): string {
  const error = errorOf(result);
  if (error !== undefined) return `-${error}`;
  if (addressResults.has(call)) return hex(result);
  return call === "umask" ? `0${result.toString(8)}` : String(BigInt.asIntN(64, result));
}

/** An argument as its declaration says to show it. */
export function formatArgument({ name, type }: SyscallParameter, value: bigint): string {
  if (type.includes("*")) return pointerText(value);
  if (/fd$/.test(name) && /\bint\b/.test(type)) return descriptorText(value);
  if (type === "umode_t" || name === "mode") return octal(Number(value & 0xffffn));
  if (/^(int|long|pid_t|key_t|loff_t|off_t)$/.test(type)) {
    return String(BigInt.asIntN(/^(long|loff_t|off_t)$/.test(type) ? 64 : 32, value));
  }
  if (/^(unsigned int|unsigned|uid_t|gid_t|u32|__u32|qid_t)$/.test(type))
    return small(BigInt.asUintN(32, value));
  return type === "size_t" ? String(value) : small(value);
}

export function descriptorText(value: bigint): string {
  const descriptor = BigInt.asIntN(32, value);
  return descriptor === currentDirectory ? "AT_FDCWD" : String(descriptor);
}

export function pointerText(value: bigint): string {
  return value === 0n ? "NULL" : hex(value);
}

/** Sets of bits and addresses are read in hexadecimal, counts in decimal. */
export function small(value: bigint): string {
  return value < 1_000_000n ? String(value) : hex(value);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

const letters: Readonly<Record<number, string>> = {
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
  34: '\\"',
  92: "\\\\",
};

/** Bytes as a C string, as strace writes them: other than printable ASCII in octal. `...` where there is more. */
export function quoted(bytes: Uint8Array, isCut: boolean): string {
  let text = "";
  for (const [i, byte] of bytes.entries()) {
    const next = bytes[i + 1] ?? 0;
    const isDigitNext = next >= 0x30 && next <= 0x37;
    if (letters[byte] !== undefined) text += letters[byte];
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${byte.toString(8).padStart(isDigitNext ? 3 : 1, "0")}`;
  }
  return `"${text}"${isCut ? "..." : ""}`;
}
