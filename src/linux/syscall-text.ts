import { constants } from "node:os";
import { formatOpenFlags } from "./file.js";
import type { SyscallParameter } from "./syscalls.js";

/** A text that an argument points to, as far as it was collected. */
export interface ArgumentText {
  readonly text: string;
  /** There is more of it. */
  readonly cut: boolean;
}

/** Results below 0 and above this are errors. Source: include/linux/err.h, MAX_ERRNO. */
const mostErrors = 4095n;
/** Errors of the kernel's own, before it decides about a signal. Source: include/linux/errno.h. */
const kernelErrors = [
  [512, "ERESTARTSYS"],
  [513, "ERESTARTNOINTR"],
  [514, "ERESTARTNOHAND"],
  [516, "ERESTART_RESTARTBLOCK"],
] as const;
/** Second names of a number that has a better known one. */
const aliases: ReadonlySet<string> = new Set(["EWOULDBLOCK", "ENOTSUP", "EDEADLOCK"]);
const errorNames = new Map<number, string>([
  ...Object.entries(constants.errno)
    .filter(([name]) => !aliases.has(name))
    .map(([name, number]) => [number, name] as const),
  ...kernelErrors,
]);
/** `AT_FDCWD`. */
const currentDirectory = -100n;
/** Calls whose result is an address. */
const addressResults: ReadonlySet<string> = new Set(["mmap", "mremap", "brk", "shmat"]);

/** The name of an error that a system call gave; undefined when it gave none. */
export function errorOf(result: bigint): string | undefined {
  const signed = BigInt.asIntN(64, result);
  if (signed >= 0n || -signed > mostErrors) return undefined;
  return errorNames.get(Number(-signed)) ?? `E${-signed}`;
}

/** A result: a number, an address, or the error's name. */
export function formatResult(call: string, result: bigint): string {
  const error = errorOf(result);
  if (error !== undefined) return `-${error}`;
  return addressResults.has(call) ? hex(result) : String(BigInt.asIntN(64, result));
}

/** An argument as its declaration says to show it. */
export function formatArgument(
  { name, type }: SyscallParameter,
  value: bigint,
  text: ArgumentText | undefined,
): string {
  if (type.includes("*")) {
    if (value === 0n) return "NULL";
    const isText = /^(const )?(char|unsigned char)\b.*\*$/.test(type) && type.startsWith("const");
    return isText && text ? quoted(text) : hex(value);
  }
  if (/fd$/.test(name) && /\bint\b/.test(type)) {
    const descriptor = BigInt.asIntN(32, value);
    return descriptor === currentDirectory ? "AT_FDCWD" : String(descriptor);
  }
  if (type === "umode_t" || name === "mode") return value === 0n ? "0" : `0${(value & 0xffffn).toString(8)}`;
  if (/^(int|long|pid_t|key_t|loff_t|off_t)$/.test(type)) return signedText(type, value);
  if (/^(unsigned int|unsigned|uid_t|gid_t|u32|__u32|qid_t)$/.test(type))
    return small(BigInt.asUintN(32, value));
  return /^(size_t|loff_t)$/.test(type) ? String(value) : small(value);
}

/** `flags` of the open family by name. */
export function formatFlags(call: string, { name }: SyscallParameter, value: bigint): string | undefined {
  return name === "flags" && /^open(at)?$/.test(call)
    ? formatOpenFlags(Number(value & 0xffff_ffffn))
    : undefined;
}

function signedText(type: string, value: bigint): string {
  return String(BigInt.asIntN(/^(long|loff_t|off_t)$/.test(type) ? 64 : 32, value));
}

/** Sets of bits and addresses are read in hexadecimal, counts in decimal. */
function small(value: bigint): string {
  return value < 1_000_000n ? String(value) : hex(value);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function quoted({ text, cut }: ArgumentText): string {
  return `${JSON.stringify(text)}${cut ? "…" : ""}`;
}
