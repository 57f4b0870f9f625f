import { expect, test } from "vitest";
import { constant } from "../../src/linux/pass/collect-code.js";
import { requestText } from "../../src/linux/syscall/ioctl.js";
import { ioctlName } from "../../src/linux/syscall/ioctl-names.js";
import { CallShape } from "../../src/linux/syscall/shapes.js";
import { SyscallTable } from "../../src/linux/syscall/syscalls.js";
import type { ProbeItem } from "../../src/qemu/probe-channel.js";
import type { HitPiece } from "../../src/qemu/probe-hits.js";

// The expected texts are those that strace 6.1 printed for the same calls (bench/strace-compare.ts,
// test/linux/strace-controls.c).

const program = { argumentStart: constant(0), argumentEnd: constant(0), environmentEnd: constant(0) };
const minus = (value: bigint) => BigInt.asUintN(64, -value);
/** The address to which all arguments point in these tests. */
const here = 0x1000n;

/** The text of a call whose argument points to these bytes. What the call leaves there is a separate parameter. */
function told(
  name: string,
  values: readonly bigint[],
  result: bigint | undefined,
  memory: Uint8Array = new Uint8Array(0),
  left: Uint8Array = memory,
): string {
  const parameters = values.map((_, i) => ({ name: `a${i}`, type: "unsigned long" }));
  const shape = new CallShape({ number: 1, name, parameters });
  const place = { argument: () => constant(0), stack: constant(0), program, result: undefined };
  const early = shape.items(place);
  const late = shape.items({ ...place, result: constant(0) });
  return shape.text(
    { arguments: values, result },
    early.map((item) => piece(item, memory)),
    late.map((item) => piece(item, left)),
  );
}

function piece(item: ProbeItem, memory: Uint8Array): HitPiece {
  const most = "most" in item ? item.most : 0;
  if (item.collect === "text") {
    const end = memory.indexOf(0);
    const length = end < 0 ? memory.length : end;
    return { bytes: memory.subarray(0, Math.min(length, most)), state: length > most ? "cut" : "whole" };
  }
  if (memory.length < most) return { bytes: new Uint8Array(0), state: "unreadable" };
  return { bytes: memory.subarray(0, most), state: "whole" };
}

function bytes(
  length: number,
  ...fields: readonly (readonly [offset: number, size: 1 | 2 | 4 | 8, value: bigint])[]
) {
  const memory = new Uint8Array(length);
  const view = new DataView(memory.buffer);
  for (const [offset, size, value] of fields) {
    if (size === 8) view.setBigUint64(offset, BigInt.asUintN(64, value), true);
    else if (size === 4) view.setUint32(offset, Number(BigInt.asUintN(32, value)), true);
    else if (size === 2) view.setUint16(offset, Number(value), true);
    else view.setUint8(offset, Number(value));
  }
  return memory;
}

test("prctl shows what its option means", () => {
  const name = Buffer.from('a "name"\tthat is too long\0');
  expect(told("prctl", [15n, here, 0n, 0n, 0n], 0n, name)).toBe(
    'prctl(PR_SET_NAME, "a \\"name\\"\\tthat i"...) = 0',
  );
  expect(told("prctl", [16n, here, 0n, 0n, 0n], 0n, name, Buffer.from("short\0"))).toBe(
    'prctl(PR_GET_NAME, "short") = 0',
  );
  expect(told("prctl", [16n, 0n, 0n, 0n, 0n], minus(14n))).toBe("prctl(PR_GET_NAME, NULL) = -EFAULT");
  expect(told("prctl", [1n, 12n, 0n, 0n, 0n], 0n)).toBe("prctl(PR_SET_PDEATHSIG, SIGUSR2) = 0");
  expect(told("prctl", [2n, here, 0n, 0n, 0n], 0n, bytes(16, [0, 4, 99n]), bytes(16, [0, 4, 12n]))).toBe(
    "prctl(PR_GET_PDEATHSIG, [SIGUSR2]) = 0",
  );
  const filter = bytes(16, [0, 2, 4n], [8, 8, 0x7ffd5aab29c0n]);
  expect(told("prctl", [22n, 2n, here, 0n, 0n], 0n, filter)).toBe(
    "prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {len=4, filter=0x7ffd5aab29c0}) = 0",
  );
  expect(told("prctl", [22n, 1n, 5n, 0n, 0n], 0n)).toBe("prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) = 0");
  expect(told("prctl", [38n, 1n, 0n, 0n, 0n], 0n)).toBe("prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0");
  expect(told("prctl", [23n, 21n, 0n, 0n, 0n], 1n)).toBe("prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) = 1");
  expect(told("prctl", [0x53564d41n, 0n, here, 4096n, here], 0n, Buffer.from("an area\0"))).toBe(
    'prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x1000, 4096, "an area") = 0',
  );
  expect(told("prctl", [0x12345n, 1n, 2n, 3n, 4n], minus(22n))).toBe(
    "prctl(0x12345, 0x1, 0x2, 0x3, 0x4) = -EINVAL",
  );
});

test("clone3 shows its structure, and what came back", () => {
  const fields = bytes(
    88,
    ...([
      [0, 8, 0x3d0f00n],
      [16, 8, 0x7f01n],
      [24, 8, 0x7f02n],
      [40, 8, 0x7f00n],
      [48, 8, 0x7fff80n],
      [56, 8, 0x7f03n],
    ] as const),
  );
  expect(told("clone3", [here, 88n], 103n, fields)).toBe(
    "clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS" +
      "|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID, child_tid=0x7f01, parent_tid=0x7f02, exit_signal=0, stack=0x7f00, " +
      `stack_size=0x7fff80, tls=0x7f03} => {parent_tid=[${0x3d0f00}]}, 88) = 103`,
  );
  const old = bytes(64, [0, 8, 0n], [32, 8, 17n]);
  expect(told("clone3", [here, 64n], minus(11n), old)).toBe(
    "clone3({flags=0, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 64) = -EAGAIN",
  );
  expect(told("clone3", [here, 16n], minus(22n), old)).toBe("clone3(0x1000, 16) = -EINVAL");
});

test("requests have names, those without one their parts", () => {
  expect(ioctlName(0x5401)).toBe("TCGETS");
  expect(requestText(0x5403)).toBe("SNDCTL_TMR_STOP or TCSETSW");
  expect(requestText(0x541b)).toBe("FIONREAD");
  expect(requestText(0x80081272)).toBe("BLKGETSIZE64");
  expect(requestText(0x8915)).toBe("SIOCGIFADDR");
  expect(requestText(0x81004506)).toBe("EVIOCGNAME(256)");
  expect(requestText(0x80604521)).toBe("EVIOCGBIT(EV_KEY, 96)");
  expect(requestText(0x8018456f)).toBe("EVIOCGABS(ABS_MT_SLOT)");
  expect(requestText(0xc0087ec8)).toBe("_IOC(_IOC_READ|_IOC_WRITE, 0x7e, 0xc8, 0x8)");
  expect(requestText(0x7ec9)).toBe("_IOC(_IOC_NONE, 0x7e, 0xc9, 0)");
});

test("ioctl shows the structure of its request", () => {
  const settings = bytes(44, [0, 4, 0x500n], [4, 4, 5n], [8, 4, 0xbfn], [12, 4, 0x8a3bn]);
  expect(told("ioctl", [0n, 0x5401n, here], 0n, new Uint8Array(44), settings)).toBe(
    "ioctl(0, TCGETS, {c_iflag=ICRNL|IXON, c_oflag=NL0|CR0|TAB0|BS0|VT0|FF0|OPOST|ONLCR, c_cflag=B38400|CS8|CREAD, " +
      "c_lflag=ISIG|ICANON|ECHO|ECHOE|ECHOK|IEXTEN|ECHOCTL|ECHOKE, ...}) = 0",
  );
  expect(told("ioctl", [0n, 0x5401n, here], minus(25n), settings)).toBe("ioctl(0, TCGETS, 0x1000) = -ENOTTY");
  const size = bytes(8, [0, 2, 24n], [2, 2, 80n]);
  expect(told("ioctl", [1n, 0x5413n, here], 0n, size)).toBe(
    "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0",
  );
  expect(told("ioctl", [1n, 0x541bn, here], 0n, bytes(4), bytes(4, [0, 4, 17n]))).toBe(
    "ioctl(1, FIONREAD, [17]) = 0",
  );
  expect(told("ioctl", [1n, 0x5422n, 7n], 0n)).toBe("ioctl(1, TIOCNOTTY) = 0");
  expect(told("ioctl", [1n, 0x5412n, here], 0n, Buffer.from("xy"))).toBe('ioctl(1, TIOCSTI, "x") = 0');
  expect(told("ioctl", [3n, 0x80081272n, here], 0n, bytes(8), bytes(8, [0, 8, 1n << 40n]))).toBe(
    `ioctl(3, BLKGETSIZE64, [${1n << 40n}]) = 0`,
  );
  expect(
    told("ioctl", [3n, 0x301n, here], 0n, bytes(16, [0, 1, 4n], [1, 1, 32n], [2, 2, 5n], [8, 8, 9n])),
  ).toBe("ioctl(3, HDIO_GETGEO, {heads=4, sectors=32, cylinders=5, start=9}) = 0");
  const request = Buffer.alloc(40);
  request.write("lo");
  const answer = Buffer.from(request);
  answer.writeUInt16LE(0x49, 16);
  expect(told("ioctl", [3n, 0x8913n, here], 0n, request, answer)).toBe(
    'ioctl(3, SIOCGIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP|IFF_LOOPBACK|IFF_RUNNING}) = 0',
  );
  expect(told("ioctl", [3n, 0x8913n, here], minus(19n), request)).toBe(
    'ioctl(3, SIOCGIFFLAGS, {ifr_name="lo"}) = -ENODEV',
  );
  expect(told("ioctl", [3n, 0x54ffn, 0x1234n], minus(25n))).toBe(
    "ioctl(3, _IOC(_IOC_NONE, 0x54, 0xff, 0), 0x1234) = -ENOTTY",
  );
});

test("seccomp, reboot, futex and rt_sigreturn", () => {
  const filter = bytes(16, [0, 2, 1n], [8, 8, 0x7f00n]);
  expect(told("seccomp", [1n, 5n, here], 0n, filter)).toBe(
    "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC|SECCOMP_FILTER_FLAG_SPEC_ALLOW, {len=1, filter=0x7f00}) = 0",
  );
  expect(told("seccomp", [2n, 0n, here], 0n, bytes(16, [0, 4, 0x30000n]))).toBe(
    "seccomp(SECCOMP_GET_ACTION_AVAIL, 0, [SECCOMP_RET_TRAP]) = 0",
  );
  const magic = [0xfee1deadn, 672274793n] as const;
  expect(told("reboot", [...magic, 0x4321fedcn, here], undefined)).toBe(
    "reboot(LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF)",
  );
  // An int of the program may come sign-extended.
  expect(
    told(
      "reboot",
      [minus(0x1_0000_0000n - magic[0]), magic[1], 0xa1b2c3d4n, here],
      minus(22n),
      Buffer.from("x\0"),
    ),
  ).toBe('reboot(LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART2, "x") = -EINVAL');
  expect(told("futex", [here, 0x81n, 1n, 0n, 0n, 0n], 1n)).toBe("futex(0x1000, FUTEX_WAKE_PRIVATE, 1) = 1");
  expect(told("futex", [here, 0x189n, 5n, 0n, 0n, 0xffffffffn], 0n)).toBe(
    "futex(0x1000, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 5, NULL, FUTEX_BITSET_MATCH_ANY) = 0",
  );
  expect(told("rt_sigreturn", [], 0n, bytes(8, [0, 8, 1n << 11n]))).toBe("rt_sigreturn({mask=[USR2]}) = 0");
});

test("timers, and what is left of a sleep", () => {
  const second = bytes(16, [0, 8, 1n], [8, 8, 2n]);
  const left = bytes(16, [8, 8, 169615411n]);
  const interrupted = minus(516n);
  expect(told("nanosleep", [here, here], interrupted, second, left)).toBe(
    "nanosleep({tv_sec=1, tv_nsec=2}, {tv_sec=0, tv_nsec=169615411}) = -ERESTART_RESTARTBLOCK",
  );
  expect(told("nanosleep", [here, here], 0n, second)).toBe("nanosleep({tv_sec=1, tv_nsec=2}, 0x1000) = 0");
  expect(told("clock_nanosleep", [1n, 0n, here, here], interrupted, second, left)).toBe(
    "clock_nanosleep(CLOCK_MONOTONIC, 0, {tv_sec=1, tv_nsec=2}, {tv_sec=0, tv_nsec=169615411}) = -ERESTART_RESTARTBLOCK",
  );
  // With an absolute time there is no remaining time.
  expect(told("clock_nanosleep", [1n, 1n, here, here], minus(514n), second, left)).toBe(
    "clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, {tv_sec=1, tv_nsec=2}, 0x1000) = -ERESTARTNOHAND",
  );
  const period = bytes(32, [8, 8, 30000n], [16, 8, 1n]);
  expect(told("setitimer", [0n, here, 0n], 0n, period)).toBe(
    "setitimer(ITIMER_REAL, {it_interval={tv_sec=0, tv_usec=30000}, it_value={tv_sec=1, tv_usec=0}}, NULL) = 0",
  );
});

test("x32 has the names of others, and numbers of its own", () => {
  const table = new SyscallTable(
    [[39, "getpid"] as const, [13, "rt_sigaction"] as const, [16, "ioctl"] as const].map(([number, name]) => [
      number,
      { number, name, parameters: ["int", "long"].map((type, i) => ({ name: `a${i}`, type })) },
    ]),
  );
  expect(table.find(39, false)?.name).toBe("getpid");
  expect(table.find(0x40000000 + 39, false)).toMatchObject({ name: "getpid", isX32: true });
  expect(table.find(0x40000000 + 514, false)).toMatchObject({ name: "ioctl", hasShortWords: true });
  expect(table.find(0x40000000 + 13, false)?.name).toBe("rt_sigaction#64");
  expect(table.find(0x40000000 + 600, false)).toBeUndefined();
  const none = new CallShape(table.find(0x40000000 + 13, false)!);
  expect(none.text({ arguments: [10n, 0n], result: minus(38n) }, [], [])).toBe(
    "rt_sigaction#64(0xa, 0) = -ENOSYS",
  );
  expect(table.find(20, true)).toMatchObject({ name: "getpid", isCompat: true });
});

test("forms collect no more than a probe can, the same at every look", () => {
  const place = { argument: () => constant(1), stack: constant(1), program, result: undefined };
  for (const name of [
    "prctl",
    "ioctl",
    "clone3",
    "seccomp",
    "reboot",
    "futex",
    "rt_sigreturn",
    "execve",
    "execveat",
  ]) {
    const shape = new CallShape({ number: 1, name, parameters: [] });
    const [early, late] = [shape.items(place), shape.items({ ...place, result: constant(1) })];
    expect(late.length, name).toBeLessThanOrEqual(32);
    expect(late.slice(0, early.length), name).toEqual(early);
  }
});

test("execve whose strings nobody had touched shows those of the new program", () => {
  const parameters = [1, 2, 3].map((i) => ({ name: `a${i}`, type: "x *" }));
  const shape = new CallShape({ number: 59, name: "execve", parameters });
  const unreadable: HitPiece = { bytes: new Uint8Array(0), state: "unreadable" };
  const word = (value: bigint): HitPiece => ({ bytes: bytes(8, [0, 8, value]), state: "whole" });
  const whole = (text: string): HitPiece => ({ bytes: Buffer.from(text), state: "whole" });
  const list = [word(0x5000n), unreadable, word(0x5008n), unreadable, word(0n), unreadable];
  const early = [unreadable, ...list, ...Array.from({ length: 14 }, () => unreadable)];
  const told = (result: bigint, again: readonly HitPiece[], after: readonly HitPiece[]) =>
    shape.text({ arguments: [0x4000n, 0x6000n, 0x7000n], result }, early, [...again, ...after]);
  const gone = early.map(() => unreadable);
  expect(told(0n, gone, [whole("/bin/busybox"), whole("busybox\0true\0")])).toBe(
    'execve("/bin/busybox", ["busybox", "true"], 0x7000) = 0',
  );
  // A script: its interpreter comes before the given arguments, of which the first is lost.
  expect(told(0n, gone, [whole("/a"), whole("/bin/sh\0-e\0/a\0true\0")])).toBe(
    'execve("/a", [0x5000, "true"], 0x7000) = 0',
  );
  expect(told(0n, gone, [unreadable, unreadable])).toBe("execve(0x4000, [0x5000, 0x5008], 0x7000) = 0");
  // It failed: the pages are still those of the caller.
  const known = [whole("/x"), word(0x5000n), whole("x"), word(0x5008n), unreadable, ...gone.slice(5)];
  expect(told(minus(2n), known, [whole("other"), whole("other\0")])).toBe(
    'execve("/x", ["x", 0x5008], 0x7000) = -ENOENT',
  );
});
