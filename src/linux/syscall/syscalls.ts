import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { VmtapeError } from "../../base/errors.js";
import { noLinks, readRegularSync } from "../../base/regular-file.js";
import { replaceFileSync } from "../../base/replace-file.js";
import { withSyncFile } from "../../base/sync-source.js";
import { imageBytes, openKernelImage } from "../../symbols/kernel/image.js";
import { kernelAddress } from "../../symbols/kernel/kaslr.js";
import { addressOfKey } from "../../symbols/tables/address.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import { compatCallNames } from "./compat.js";
import { type CallExit, findCallExits } from "./exits.js";
import { firstX32, x32Bit, x32NameOf, x32Names } from "./x32.js";

/** A system call as its kernel declares it. */
export interface Syscall {
  readonly number: number;
  /** "openat". */
  readonly name: string;
  /** Undefined for a kernel that keeps no declarations (CONFIG_FTRACE_SYSCALLS off): nobody knows how many it takes. */
  readonly parameters: readonly SyscallParameter[] | undefined;
  /** A 32-bit one: numbers, and the sizes of words, are others. */
  readonly isCompat?: boolean;
  /** One of x32: its number has a bit more. */
  readonly isX32?: boolean;
  /** Words in the program's structures are of 32 bits. */
  readonly hasShortWords?: boolean;
}

export interface SyscallParameter {
  readonly name: string;
  /** As in C, "const char *". */
  readonly type: string;
}

/** Functions of 64-bit system calls. */
const functionPrefix = "__x64_sys_";
/** `SYSCALL_DEFINE` leaves a `struct syscall_metadata` of this name. Source: include/linux/syscalls.h. */
const metadataPrefix = "__syscall_meta__";
/** Calls that programs know by another name than their function's. Source: arch/x86/entry/syscalls/syscall_64.tbl. */
const programNames: Readonly<Record<string, string>> = {
  newstat: "stat",
  newfstat: "fstat",
  newlstat: "lstat",
  newuname: "uname",
  sendfile64: "sendfile",
  umount: "umount2",
};
/** The place of numbers that no call has. */
const noCall = "ni_syscall";
const mostCalls = 1024;
const mostParameters = 6;
const longestText = 64;

/**
 * The system calls of a kernel by number, read from its file: the table of their functions, and what it keeps of their
 * declarations for tracing.
 *
 * Cost: unpacking the whole image, 0.4 to 0.9 s; with a cache once.
 *
 * @param cache a directory for what was read
 * @throws VmtapeError `not-found` when the file has no such table
 */
export function readSyscalls(file: string, kernel: LinuxKernel, cache?: string): SyscallTable {
  const kept = cache === undefined ? undefined : join(cache, cacheName);
  const known = kept === undefined ? undefined : readKept(kept);
  if (known) return known;
  const table = readTable(file, kernel);
  if (kept !== undefined) keep(kept, table);
  return table;
}

const cacheName = "syscalls";
const cacheVersion = 2;

/** What {@link keep} wrote; undefined when there is none, or it is damaged. */
function readKept(file: string): SyscallTable | undefined {
  try {
    const { version, calls, exits } = deserialize(readRegularSync(file, noLinks));
    return version === cacheVersion ? new SyscallTable(calls, exits) : undefined;
  } catch {
    return undefined;
  }
}

/** A cache that takes nothing costs only time. */
function keep(file: string, table: SyscallTable): void {
  try {
    replaceFileSync(file, serialize({ version: cacheVersion, calls: [...table], exits: table.exits }));
  } catch {
    // read again next time
  }
}

function readTable(file: string, kernel: LinuxKernel): SyscallTable {
  return withSyncFile(file, (source) => {
    const { elf } = openKernelImage(source, { whole: true });
    const bytes: Read = (address, length) => imageBytes(elf, address, length);
    return new SyscallTable(new SyscallReader(kernel, bytes).read(), findCallExits(kernel, bytes));
  });
}

/** The system calls of a kernel by number: 64-bit ones as a map, and 32-bit ones. */
export class SyscallTable extends Map<number, Syscall> {
  /** Those of 32-bit programs, and of `int 0x80`. */
  readonly compat: ReadonlyMap<number, Syscall>;
  /** Those of x32 programs, by their whole numbers. */
  readonly x32: ReadonlyMap<number, Syscall>;

  /** @param exits where calls have their results, in a kernel that has no function for it */
  constructor(
    calls: Iterable<readonly [number, Syscall]>,
    readonly exits: readonly CallExit[] = [],
  ) {
    super(calls);
    const declared = new Map([...this.values()].map((call) => [call.name, call.parameters]));
    this.compat = new Map(
      [...compatCallNames].map(([number, name]) => {
        const parameters = declared.get(name) ?? declared.get(fullNames[name] ?? "");
        return [number, { number, name, parameters, isCompat: true, hasShortWords: true }];
      }),
    );
    const shared = [...this.values()]
      .filter(({ number }) => number < firstX32)
      .map((call) => ({
        ...{ ...call, number: (call.number | x32Bit) >>> 0 },
        ...{ name: x32NameOf(call), isX32: true },
      }));
    const own = [...x32Names].map(([number, name]) => ({
      ...{ number: (number | x32Bit) >>> 0, name, parameters: declared.get(name) },
      ...{ isX32: true, hasShortWords: true },
    }));
    this.x32 = new Map([...shared, ...own].map((call) => [call.number, call]));
  }

  /** A call by its number, as a program gives it. */
  find(number: number, isCompat: boolean): Syscall | undefined {
    if (isCompat) return this.compat.get(number);
    return (number & x32Bit) === 0 ? this.get(number) : this.x32.get(number >>> 0);
  }

  /** All names. */
  get names(): string[] {
    return [...new Set([...this.values(), ...this.compat.values()].map(({ name }) => name))];
  }
}

/** 32-bit calls with the arguments of another one. */
const fullNames: Readonly<Record<string, string>> = {
  mmap2: "mmap",
  waitpid: "wait4",
  fcntl64: "fcntl",
  _llseek: "lseek",
  _newselect: "select",
  stat64: "stat",
  fstat64: "fstat",
  lstat64: "lstat",
  fstatat64: "newfstatat",
  chown32: "chown",
  setuid32: "setuid",
  setgid32: "setgid",
  ugetrlimit: "getrlimit",
  clock_gettime64: "clock_gettime",
  clock_nanosleep_time64: "clock_nanosleep",
  futex_time64: "futex",
};

type Read = (address: bigint, length: number) => Uint8Array | undefined;

class SyscallReader {
  private readonly kernel: LinuxKernel;
  private readonly bytes: Read;

  constructor(kernel: LinuxKernel, bytes: Read) {
    this.kernel = kernel;
    this.bytes = bytes;
  }

  read(): Map<number, Syscall> {
    const table = this.address("sys_call_table");
    if (table === undefined) throw missing();
    const names = this.functionNames();
    const calls = new Map<number, Syscall>();
    for (let number = 0; number < mostCalls; number++) {
      const target = this.word(table + BigInt(number * 8));
      const name = target === undefined ? undefined : names.get(target);
      // After the table lies something else.
      if (name === undefined) break;
      if (name === noCall) continue;
      calls.set(number, { number, name: programNames[name] ?? name, parameters: this.parameters(name) });
    }
    if (calls.size === 0) throw missing();
    return calls;
  }

  /** Names of system calls by the link address of their function; one of several, for aliases. */
  private functionNames(): Map<bigint, string> {
    const { names, starts } = this.kernel.symbols.table;
    const found = new Map<bigint, string>();
    for (let i = 0; i < names.count; i++) {
      const name = names.at(i);
      if (name.startsWith(functionPrefix))
        found.set(addressOfKey(starts[i]!), name.slice(functionPrefix.length));
    }
    return found;
  }

  private parameters(name: string): SyscallParameter[] | undefined {
    const type = this.kernel.types?.findStruct("syscall_metadata");
    const at = this.address(metadataPrefix + name);
    if (!type || at === undefined) return undefined;
    const member = (path: string) => at + BigInt(type.member(path).byteOffset);
    const count = this.bytes(member("nb_args"), 4);
    const types = this.word(member("types"));
    const names = this.word(member("args"));
    if (!count || count[0]! > mostParameters) return undefined;
    return Array.from({ length: count[0]! }, (_, i) => ({
      name: this.text(names, i) ?? `arg${i}`,
      type: this.text(types, i) ?? "long",
    }));
  }

  /** The string that entry `i` of an array of pointers leads to. */
  private text(array: bigint | undefined, i: number): string | undefined {
    const pointer = array ? this.word(array + BigInt(i * 8)) : undefined;
    const bytes = pointer ? this.bytes(pointer, longestText) : undefined;
    const end = bytes?.indexOf(0) ?? -1;
    return bytes && end > 0 ? Buffer.from(bytes.subarray(0, end)).toString("latin1") : undefined;
  }

  private word(address: bigint): bigint | undefined {
    const bytes = this.bytes(address, 8);
    return bytes && new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  }

  private address(symbol: string): bigint | undefined {
    return kernelAddress(this.kernel.symbols.table, symbol, 0n);
  }
}

function missing(): VmtapeError {
  return new VmtapeError("not-found", "the kernel's file has no table of 64-bit system calls");
}
