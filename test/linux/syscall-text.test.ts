import { expect, test } from "vitest";
import { constant } from "../../src/linux/pass/collect-code.js";
import { addressText } from "../../src/linux/syscall/addresses.js";
import {
  cloneText,
  flagsText,
  futexText,
  modeText,
  octal,
  openText,
  valueText,
} from "../../src/linux/syscall/flags.js";
import { CallShape } from "../../src/linux/syscall/shapes.js";
import { signalSetText, signalText } from "../../src/linux/syscall/signal-names.js";
import { exitText, siginfoBytes, signalFacts } from "../../src/linux/syscall/signals.js";
import type { SyscallParameter } from "../../src/linux/syscall/syscalls.js";
import { errorOf, formatArgument, formatResult, quoted } from "../../src/linux/syscall/text.js";
import type { HitPiece } from "../../src/qemu/probe-hits.js";

const program = { argumentStart: constant(0), argumentEnd: constant(0), environmentEnd: constant(0) };
const minus = (value: bigint) => BigInt.asUintN(64, -value);
const whole = (bytes: Uint8Array): HitPiece => ({ bytes, state: "whole" });
const unreadable: HitPiece = { bytes: new Uint8Array(0), state: "unreadable" };
const text = (value: string) => whole(Buffer.from(value));
const words = (...values: bigint[]) => whole(new Uint8Array(BigUint64Array.from(values).buffer));

test("results are numbers, addresses, or names of errors", () => {
  expect(formatResult("read", 0n)).toBe("0");
  expect(formatResult("read", minus(2n))).toBe("-ENOENT");
  expect(formatResult("read", minus(11n))).toBe("-EAGAIN");
  expect(formatResult("read", minus(95n))).toBe("-EOPNOTSUPP");
  expect(formatResult("nanosleep", minus(516n))).toBe("-ERESTART_RESTARTBLOCK");
  expect(formatResult("mmap", 0x7f0000000000n)).toBe("0x7f0000000000");
  expect(formatResult("umask", 0o22n)).toBe("022");
  expect(errorOf(minus(4096n))).toBeUndefined();
  expect(errorOf(minus(4095n))).toBe("E4095");
});

test("arguments are shown as they are declared", () => {
  const shown = (type: string, name: string, value: bigint) => formatArgument({ type, name }, value);
  expect(shown("char *", "buf", 0x1000n)).toBe("0x1000");
  expect(shown("void *", "buf", 0n)).toBe("NULL");
  expect(shown("int", "dfd", minus(100n))).toBe("AT_FDCWD");
  expect(shown("int", "dfd", 0xffff_ff9cn)).toBe("AT_FDCWD");
  expect(shown("unsigned int", "fd", 3n)).toBe("3");
  expect(shown("umode_t", "mode", 0o644n)).toBe("0644");
  expect(shown("int", "who", 0xffff_ffffn)).toBe("-1");
  expect(shown("size_t", "count", 4096n)).toBe("4096");
  expect(shown("unsigned long", "addr", 0x7fff_0000_0000n)).toBe("0x7fff00000000");
});

// The expected texts are those that strace 6.1 prints for the same.
test("bits and values have strace's names", () => {
  expect(openText(0o102n)).toBe("O_RDWR|O_CREAT");
  expect(flagsText("prot", 3n)).toBe("PROT_READ|PROT_WRITE");
  expect(flagsText("prot", 0n)).toBe("PROT_NONE");
  expect(flagsText("map", 0x812n)).toBe("MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE");
  expect(flagsText("access", 0n)).toBe("F_OK");
  expect(flagsText("access", 5n)).toBe("R_OK|X_OK");
  expect(flagsText("wait", 0x8000_0000n)).toBe("__WCLONE");
  expect(flagsText("at", 0n)).toBe("0");
  expect(flagsText("at", 0x10_0000n)).toBe("0x100000");
  expect(flagsText("action", 0x14000000n)).toBe("SA_RESTORER|SA_RESTART");
  expect(cloneText(0x1200011n)).toBe("CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD");
  expect(cloneText(0n)).toBe("0");
  expect(futexText(0x80n)).toBe("FUTEX_WAIT_PRIVATE");
  expect(futexText(0x189n)).toBe("FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME");
  expect(valueText("whence", 2n)).toBe("SEEK_END");
  expect(valueText("clock", 0x1234_5678n)).toBe("0x12345678");
  expect([6n, 32n, 33n, 64n, 65n].map(signalText)).toEqual([
    "SIGABRT",
    "SIGRTMIN",
    "SIGRT_1",
    "SIGRT_32",
    "65",
  ]);
  expect(signalSetText(1n << 16n)).toBe("[CHLD]");
  expect(signalSetText(0xffff_ffff_ffff_ffffn & ~(3n << 31n))).toBe("~[RTMIN RT_1]");
  expect([0, 7, 0o77, 0o644, 0o1777].map(octal)).toEqual(["000", "007", "077", "0644", "01777"]);
  expect(modeText(0o100755)).toBe("S_IFREG|0755");
  expect(modeText(0o041777)).toBe("S_IFDIR|S_ISVTX|0777");
});

test("bytes are C strings", () => {
  expect(quoted(Buffer.from('a"b\\\n\t\x7f'), false)).toBe('"a\\"b\\\\\\n\\t\\177"');
  expect(quoted(Uint8Array.of(0, 0x31, 0, 0x39, 7), true)).toBe('"\\0001\\09\\7"...');
});

test("addresses of sockets", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values);
  expect(addressText(Buffer.from("\x01\0/run/x\0"))).toBe('{sa_family=AF_UNIX, sun_path="/run/x"}');
  expect(addressText(Buffer.from("\x01\0\0abc"))).toBe('{sa_family=AF_UNIX, sun_path=@"abc"}');
  expect(addressText(bytes(2, 0, 0, 80, 127, 0, 0, 1))).toBe(
    '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}',
  );
  const six = new Uint8Array(28);
  six.set([10, 0, 0, 22, 0, 0, 0, 0, 0xfe, 0x80]);
  six[23] = 1;
  expect(addressText(six)).toBe('{sa_family=AF_INET6, sin6_port=htons(22), inet_pton(AF_INET6, "fe80::1")}');
  for (let length = 0; length < 28; length++)
    expect(() => addressText(six.subarray(0, length))).not.toThrow();
  expect(addressText(bytes(1))).toBeUndefined();
});

const parameter = (name: string, type: string): SyscallParameter => ({ name, type });
const openat = new CallShape({
  number: 257,
  name: "openat",
  parameters: [
    parameter("dfd", "int"),
    parameter("filename", "const char *"),
    parameter("flags", "int"),
    parameter("mode", "umode_t"),
  ],
});
const numbers = (result: bigint | undefined, ...values: bigint[]) => ({
  arguments: [...values, 0n, 0n, 0n, 0n, 0n, 0n].slice(0, 6),
  result,
});

test("a call is told with what it was given and what it got", () => {
  const given = numbers(3n, minus(100n), 0x1000n, 0o100n, 0o600n);
  expect(openat.text(given, [text("/x")], [])).toBe('openat(AT_FDCWD, "/x", O_RDONLY|O_CREAT, 0600) = 3');
  // The page of the name was not in memory at the beginning of the call, but is at the end.
  expect(openat.text(given, [unreadable], [text("/late")])).toContain('"/late"');
  expect(openat.text(given, [unreadable], [])).toContain("0x1000");
  const missing = numbers(minus(2n), 5n, 0n, 0n);
  expect(openat.text(missing, [unreadable], [])).toBe("openat(5, NULL, O_RDONLY) = -ENOENT");
  const unfinished = numbers(undefined, 5n, 0x1000n, 0n);
  expect(openat.text(unfinished, [text("a")], [])).toBe('openat(5, "a", O_RDONLY)');
});

test("what a call read is told by its result, and not when it failed", () => {
  const read = new CallShape({
    number: 0,
    name: "read",
    parameters: [parameter("fd", "unsigned int"), parameter("buf", "char *"), parameter("count", "size_t")],
  });
  expect(read.text(numbers(2n, 4n, 0x1000n, 100n), [], [text("hi")])).toBe('read(4, "hi", 100) = 2');
  expect(read.text(numbers(minus(9n), 4n, 0x1000n, 100n), [], [text("junk")])).toBe(
    "read(4, 0x1000, 100) = -EBADF",
  );
});

test("lists of strings and of buffers are told item by item", () => {
  const execve = new CallShape({
    number: 59,
    name: "execve",
    parameters: [1, 2, 3].map((i) => parameter(`a${i}`, "x *")),
  });
  const argv = (...items: (string | undefined)[]) =>
    Array.from({ length: 10 }, (_, i) => {
      const item = items[i];
      return item === undefined ? [words(0n), unreadable] : [words(0x5000n), text(item)];
    }).flat();
  const values = numbers(0n, 0x1000n, 0x2000n, 0x3000n);
  expect(execve.text(values, [text("/bin/ls"), ...argv("ls", "-l")], [])).toBe(
    'execve("/bin/ls", ["ls", "-l"], 0x3000) = 0',
  );
  const many = argv(..."abcdefghij");
  expect(execve.text(values, [text("x"), ...many], [])).toContain('"i", "j", ...]');
  const writev = new CallShape({
    number: 20,
    name: "writev",
    parameters: [1, 2, 3].map((i) => parameter(`a${i}`, "x")),
  });
  const list = [words(0x10n, 2n, 0x20n, 3n), text("ab"), text("cde"), unreadable];
  expect(writev.text(numbers(5n, 1n, 0x1000n, 2n), list, [])).toBe(
    'writev(1, [{iov_base="ab", iov_len=2}, {iov_base="cde", iov_len=3}], 2) = 5',
  );
});

test("items are collected for every shape, the same at every look", () => {
  const place = { argument: () => constant(1), stack: constant(1), program, result: undefined };
  const atEnd = { ...place, result: constant(1) };
  expect(openat.items(place)).toHaveLength(1);
  expect(openat.items(atEnd)).toHaveLength(1);
  const compat = new CallShape({ ...openat.call, name: "writev", isCompat: true });
  expect(compat.items(place)).toHaveLength(0); // its list has pointers of another size
  expect(new CallShape({ ...openat.call, isCompat: true }).key).not.toBe(openat.key);
});

test("signals and ends", () => {
  const info = new DataView(new ArrayBuffer(siginfoBytes));
  const fields = [17, 0, 1, 0, 79, 0, 3].entries();
  for (const [i, value] of fields) info.setInt32(4 * i, value, true);
  const child = { bytes: new Uint8Array(info.buffer), state: "whole" } as const;
  expect(signalFacts(child)?.text).toBe(
    "SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=79, si_uid=0, si_status=3, si_utime=0, si_stime=0}",
  );
  info.setInt32(0, 11, true);
  info.setBigUint64(16, 0x10n, true);
  expect(signalFacts(child)?.text).toBe("SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10}");
  expect(signalFacts({ bytes: child.bytes.subarray(0, 40) })).toBeUndefined();
  expect([0, 0x300, 9, 0x8b].map(exitText)).toEqual([
    "exited with 0",
    "exited with 3",
    "killed by SIGKILL",
    "killed by SIGSEGV (core dumped)",
  ]);
});

test("signals and errors have the numbers of x86-64 Linux, whatever the host is", () => {
  const names = Array.from({ length: 31 }, (_, i) => signalText(BigInt(i + 1)).replace("SIG", ""));
  // kill -l of the guest's own shell.
  expect(names.join(" ")).toBe(
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG " +
      "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS",
  );
  const errors = [1, 11, 14, 15, 35, 38, 40, 41, 58, 71, 95, 110, 133, 512];
  expect(errors.map((number) => errorOf(minus(BigInt(number))))).toEqual([
    ...[
      "EPERM",
      "EAGAIN",
      "EFAULT",
      "ENOTBLK",
      "EDEADLK",
      "ENOSYS",
      "ELOOP",
      "E41",
      "E58",
      "EPROTO",
      "EOPNOTSUPP",
    ],
    ...["ETIMEDOUT", "EHWPOISON", "ERESTARTSYS"],
  ]);
});

// The expected texts are those that strace 6.1 printed (test/linux/strace-signals.c).
test("what a signal was sent with depends on who sent it", () => {
  const told = (fields: readonly (readonly [number, number | bigint])[]) => {
    const info = new DataView(new ArrayBuffer(siginfoBytes));
    for (const [offset, value] of fields) {
      if (typeof value === "bigint") info.setBigUint64(offset, value, true);
      else info.setInt32(offset, value, true);
    }
    const bytes = new Uint8Array(info.buffer);
    return signalFacts({ bytes }, (number, isCompat) => (number === 110 && !isCompat ? "getppid" : undefined))
      ?.text;
  };
  const call = [
    [0, 31],
    [8, 1],
    [16, 0x7f10e7a424f7n],
    [24, 110],
  ] as const;
  expect(told([...call, [28, 0xc000003e | 0]])).toBe(
    "SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_call_addr=0x7f10e7a424f7, si_syscall=__NR_getppid, si_arch=AUDIT_ARCH_X86_64}",
  );
  expect(told([...call, [8, 2], [28, 0x40000003]])).toBe(
    "SIGSYS {si_signo=SIGSYS, si_code=SYS_USER_DISPATCH, si_call_addr=0x7f10e7a424f7, si_syscall=0x6e, si_arch=AUDIT_ARCH_I386}",
  );
  expect(
    told([
      [0, 37],
      [8, -2],
      [24, 77n],
    ]),
  ).toBe("SIGRT_5 {si_signo=SIGRT_5, si_code=SI_TIMER, si_timerid=0, si_overrun=0, si_int=77, si_ptr=0x4d}");
  expect(
    told([
      [0, 10],
      [8, -1],
      [16, 5],
      [24, 0x1234n],
    ]),
  ).toBe("SIGUSR1 {si_signo=SIGUSR1, si_code=SI_QUEUE, si_pid=5, si_uid=0, si_int=4660, si_ptr=0x1234}");
  expect(
    told([
      [0, 14],
      [8, 128],
    ]),
  ).toBe("SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL}");
  expect(
    told([
      [0, 5],
      [8, 128],
    ]),
  ).toBe("SIGTRAP {si_signo=SIGTRAP, si_code=SI_KERNEL, si_addr=NULL}");
  expect(
    told([
      [0, 7],
      [8, 2],
      [16, 0x10000010n],
    ]),
  ).toBe("SIGBUS {si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=0x10000010}");
  expect(
    told([
      [0, 4],
      [8, 2],
      [16, 0x40n],
    ]),
  ).toContain("si_code=ILL_ILLOPN, si_addr=0x40");
  expect(
    told([
      [0, 8],
      [8, 15],
    ]),
  ).toContain("si_code=FPE_CONDTRAP");
  expect(
    told([
      [0, 10],
      [8, 1],
      [16, 7],
    ]),
  ).toContain("si_code=0x1, si_pid=7, si_uid=0");
  expect(
    told([
      [0, 17],
      [8, 2],
      [16, 7],
      [24, 9],
      [32, 123n],
    ]),
  ).toContain("si_status=SIGKILL, si_utime=123 /* 1.23 s */, si_stime=0}");
  expect(told([])).toBeUndefined();
  expect(told([[0, 0x7777]])).toBeUndefined();
});
