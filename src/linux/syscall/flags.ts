import { formatOpenFlags } from "../objects/file.js";
import { signalText } from "./signal-names.js";

/** Named bits, or named values; a name's bits may be several, then it comes before those it is made of. */
type Names = readonly (readonly [value: number, name: string])[];

interface Table {
  readonly prefix: string;
  /** A stretch of bits that is one of some values. */
  readonly choice?: { readonly mask: number; readonly names: Names };
  readonly bits: Names;
  /** What none is called. */
  readonly none?: string;
}

/** Source: Linux, include/uapi. Names are in strace's order. */
const tables = {
  prot: {
    prefix: "PROT_",
    bits: [
      [1, "READ"],
      [2, "WRITE"],
      [4, "EXEC"],
      [0x1000000, "GROWSDOWN"],
      [0x2000000, "GROWSUP"],
    ],
    none: "PROT_NONE",
  },
  map: {
    prefix: "MAP_",
    choice: {
      mask: 15,
      names: [
        [1, "SHARED"],
        [2, "PRIVATE"],
        [3, "SHARED_VALIDATE"],
      ],
    },
    bits: [
      [0x10, "FIXED"],
      [0x20, "ANONYMOUS"],
      [0x40, "32BIT"],
      [0x100, "GROWSDOWN"],
      [0x800, "DENYWRITE"],
      [0x1000, "EXECUTABLE"],
      [0x2000, "LOCKED"],
      [0x4000, "NORESERVE"],
      [0x8000, "POPULATE"],
      [0x10000, "NONBLOCK"],
      [0x20000, "STACK"],
      [0x40000, "HUGETLB"],
      [0x80000, "SYNC"],
      [0x100000, "FIXED_NOREPLACE"],
    ],
  },
  clone: {
    prefix: "CLONE_",
    bits: [
      [0x100, "VM"],
      [0x200, "FS"],
      [0x400, "FILES"],
      [0x800, "SIGHAND"],
      [0x1000, "PIDFD"],
      [0x2000, "PTRACE"],
      [0x4000, "VFORK"],
      [0x8000, "PARENT"],
      [0x10000, "THREAD"],
      [0x20000, "NEWNS"],
      [0x40000, "SYSVSEM"],
      [0x80000, "SETTLS"],
      [0x100000, "PARENT_SETTID"],
      [0x200000, "CHILD_CLEARTID"],
      [0x400000, "DETACHED"],
      [0x800000, "UNTRACED"],
      [0x1000000, "CHILD_SETTID"],
      [0x2000000, "NEWCGROUP"],
      [0x4000000, "NEWUTS"],
      [0x8000000, "NEWIPC"],
      [0x10000000, "NEWUSER"],
      [0x20000000, "NEWPID"],
      [0x40000000, "NEWNET"],
      [0x80000000, "IO"],
    ],
  },
  at: {
    prefix: "AT_",
    bits: [
      [0x100, "SYMLINK_NOFOLLOW"],
      [0x200, "REMOVEDIR"],
      [0x400, "SYMLINK_FOLLOW"],
      [0x800, "NO_AUTOMOUNT"],
      [0x1000, "EMPTY_PATH"],
      [0x2000, "STATX_FORCE_SYNC"],
      [0x4000, "STATX_DONT_SYNC"],
      [0x8000, "RECURSIVE"],
    ],
  },
  access: {
    prefix: "",
    bits: [
      [4, "R_OK"],
      [2, "W_OK"],
      [1, "X_OK"],
    ],
    none: "F_OK",
  },
  wait: {
    prefix: "",
    bits: [
      [1, "WNOHANG"],
      [2, "WSTOPPED"],
      [4, "WEXITED"],
      [8, "WCONTINUED"],
      [0x1000000, "WNOWAIT"],
      [0x20000000, "__WNOTHREAD"],
      [0x40000000, "__WALL"],
      [0x80000000, "__WCLONE"],
    ],
  },
  mount: {
    prefix: "MS_",
    bits: [
      [1, "RDONLY"],
      [2, "NOSUID"],
      [4, "NODEV"],
      [8, "NOEXEC"],
      [16, "SYNCHRONOUS"],
      [32, "REMOUNT"],
      [64, "MANDLOCK"],
      [128, "DIRSYNC"],
      [1024, "NOATIME"],
      [2048, "NODIRATIME"],
      [4096, "BIND"],
      [8192, "MOVE"],
      [16384, "REC"],
      [32768, "SILENT"],
      [1 << 17, "UNBINDABLE"],
      [1 << 18, "PRIVATE"],
      [1 << 19, "SLAVE"],
      [1 << 20, "SHARED"],
      [1 << 21, "RELATIME"],
      [1 << 24, "STRICTATIME"],
      [1 << 25, "LAZYTIME"],
    ],
  },
  sockets: {
    prefix: "SOCK_",
    choice: {
      mask: 15,
      names: [
        [1, "STREAM"],
        [2, "DGRAM"],
        [3, "RAW"],
        [4, "RDM"],
        [5, "SEQPACKET"],
        [10, "PACKET"],
      ],
    },
    bits: [
      [0o4000, "NONBLOCK"],
      [0o2000000, "CLOEXEC"],
    ],
  },
  poll: {
    prefix: "POLL",
    bits: [
      [1, "IN"],
      [2, "PRI"],
      [4, "OUT"],
      [8, "ERR"],
      [16, "HUP"],
      [32, "NVAL"],
      [64, "RDNORM"],
      [128, "RDBAND"],
      [256, "WRNORM"],
      [512, "WRBAND"],
      [0x2000, "RDHUP"],
    ],
  },
  action: {
    prefix: "SA_",
    bits: [
      [0x4000000, "RESTORER"],
      [0x8000000, "ONSTACK"],
      [0x10000000, "RESTART"],
      [0x40000000, "NODEFER"],
      [0x80000000, "RESETHAND"],
      [4, "SIGINFO"],
      [2, "NOCLDWAIT"],
      [1, "NOCLDSTOP"],
      [0x400, "UNSUPPORTED"],
      [0x800, "EXPOSE_TAGBITS"],
    ],
  },
  pipes: {
    prefix: "O_",
    bits: [
      [0o4000, "NONBLOCK"],
      [0o40000, "DIRECT"],
      [0o2000000, "CLOEXEC"],
    ],
  },
  timerFile: {
    prefix: "TFD_",
    bits: [
      [0o2000000, "CLOEXEC"],
      [0o4000, "NONBLOCK"],
    ],
  },
  timerPoint: {
    prefix: "TFD_TIMER_",
    bits: [
      [1, "ABSTIME"],
      [2, "CANCEL_ON_SET"],
    ],
  },
  descriptor: {
    prefix: "FD_",
    bits: [[1, "CLOEXEC"]],
  },
  sleep: {
    prefix: "TIMER_",
    bits: [[1, "ABSTIME"]],
  },
  random: {
    prefix: "GRND_",
    bits: [
      [1, "NONBLOCK"],
      [2, "RANDOM"],
      [4, "INSECURE"],
    ],
  },
  messages: {
    prefix: "MSG_",
    bits: [
      [1, "OOB"],
      [2, "PEEK"],
      [4, "DONTROUTE"],
      [8, "CTRUNC"],
      [0x20, "TRUNC"],
      [0x40, "DONTWAIT"],
      [0x80, "EOR"],
      [0x100, "WAITALL"],
      [0x4000, "NOSIGNAL"],
      [0x8000, "MORE"],
      [0x40000000, "CMSG_CLOEXEC"],
    ],
  },
} as const satisfies Readonly<Record<string, Table>>;

const values = {
  whence: [
    [0, "SEEK_SET"],
    [1, "SEEK_CUR"],
    [2, "SEEK_END"],
    [3, "SEEK_DATA"],
    [4, "SEEK_HOLE"],
  ],
  mask: [
    [0, "SIG_BLOCK"],
    [1, "SIG_UNBLOCK"],
    [2, "SIG_SETMASK"],
  ],
  family: [
    [0, "AF_UNSPEC"],
    [1, "AF_UNIX"],
    [2, "AF_INET"],
    [10, "AF_INET6"],
    [16, "AF_NETLINK"],
    [17, "AF_PACKET"],
    [40, "AF_VSOCK"],
  ],
  arch: [
    [0x1001, "ARCH_SET_GS"],
    [0x1002, "ARCH_SET_FS"],
    [0x1003, "ARCH_GET_FS"],
    [0x1004, "ARCH_GET_GS"],
    [0x3001, "ARCH_CET_STATUS"],
  ],
  fcntl: [
    [0, "F_DUPFD"],
    [1, "F_GETFD"],
    [2, "F_SETFD"],
    [3, "F_GETFL"],
    [4, "F_SETFL"],
    [5, "F_GETLK"],
    [6, "F_SETLK"],
    [7, "F_SETLKW"],
    [8, "F_SETOWN"],
    [9, "F_GETOWN"],
    [1030, "F_DUPFD_CLOEXEC"],
    [1031, "F_SETPIPE_SZ"],
    [1032, "F_GETPIPE_SZ"],
  ],
  advice: [
    [0, "MADV_NORMAL"],
    [1, "MADV_RANDOM"],
    [2, "MADV_SEQUENTIAL"],
    [3, "MADV_WILLNEED"],
    [4, "MADV_DONTNEED"],
    [8, "MADV_FREE"],
    [14, "MADV_HUGEPAGE"],
    [15, "MADV_NOHUGEPAGE"],
  ],
  clock: [
    [0, "CLOCK_REALTIME"],
    [1, "CLOCK_MONOTONIC"],
    [2, "CLOCK_PROCESS_CPUTIME_ID"],
    [3, "CLOCK_THREAD_CPUTIME_ID"],
    [4, "CLOCK_MONOTONIC_RAW"],
    [5, "CLOCK_REALTIME_COARSE"],
    [6, "CLOCK_MONOTONIC_COARSE"],
    [7, "CLOCK_BOOTTIME"],
    [8, "CLOCK_REALTIME_ALARM"],
    [9, "CLOCK_BOOTTIME_ALARM"],
    [11, "CLOCK_TAI"],
  ],
  limit: [
    [0, "RLIMIT_CPU"],
    [1, "RLIMIT_FSIZE"],
    [2, "RLIMIT_DATA"],
    [3, "RLIMIT_STACK"],
    [4, "RLIMIT_CORE"],
    [5, "RLIMIT_RSS"],
    [6, "RLIMIT_NPROC"],
    [7, "RLIMIT_NOFILE"],
    [8, "RLIMIT_MEMLOCK"],
    [9, "RLIMIT_AS"],
  ],
  protocol: [
    [0, "IPPROTO_IP"],
    [1, "IPPROTO_ICMP"],
    [2, "IPPROTO_IGMP"],
    [6, "IPPROTO_TCP"],
    [17, "IPPROTO_UDP"],
    [41, "IPPROTO_IPV6"],
    [58, "IPPROTO_ICMPV6"],
    [132, "IPPROTO_SCTP"],
    [136, "IPPROTO_UDPLITE"],
    [255, "IPPROTO_RAW"],
    [262, "IPPROTO_MPTCP"],
  ],
  notify: [
    [0, "SIGEV_SIGNAL"],
    [1, "SIGEV_NONE"],
    [2, "SIGEV_THREAD"],
    [4, "SIGEV_THREAD_ID"],
  ],
  timers: [
    [0, "ITIMER_REAL"],
    [1, "ITIMER_VIRTUAL"],
    [2, "ITIMER_PROF"],
  ],
} as const satisfies Readonly<Record<string, Names>>;

export type FlagTable = keyof typeof tables;
export type ValueTable = keyof typeof values;

/** Bits by name, as strace prints them: `PROT_READ|PROT_WRITE`; what has no name in hexadecimal. */
export function flagsText(table: FlagTable, value: bigint): string {
  const { prefix, choice, bits, none } = tables[table] as Table;
  let left = Number(BigInt.asUintN(32, value));
  const names: string[] = [];
  if (choice) {
    const chosen = left & choice.mask;
    const name = choice.names.find(([number]) => number === chosen)?.[1];
    names.push(name === undefined ? `0x${chosen.toString(16)}` : prefix + name);
    left = (left & ~choice.mask) >>> 0;
  }
  for (const [bit, name] of bits) {
    if ((left & bit) === 0) continue;
    names.push(prefix + name);
    left = (left & ~bit) >>> 0;
  }
  if (left !== 0) names.push(`0x${left.toString(16)}`);
  return names.length > 0 ? names.join("|") : (none ?? "0");
}

/** A value by name: `SEEK_END`; one that has none in hexadecimal. */
export function valueText(table: ValueTable, value: bigint): string {
  const number = Number(BigInt.asIntN(32, value));
  const name = (values[table] as Names).find(([one]) => one === number)?.[1];
  return name ?? (number === 0 ? "0" : `0x${(number >>> 0).toString(16)}`);
}

/** `CLONE_VM|CLONE_VFORK|SIGCHLD`: the lowest byte is a signal. */
export function cloneText(value: bigint): string {
  const signal = value & 0xffn;
  const flags = value & ~0xffn;
  const names = [
    ...(flags === 0n ? [] : [flagsText("clone", flags)]),
    ...(signal === 0n ? [] : [signalText(signal)]),
  ];
  return names.length > 0 ? names.join("|") : "0";
}

/** Flags of `open`, in strace's order. */
export function openText(value: bigint): string {
  const names = formatOpenFlags(Number(BigInt.asUintN(32, value))).split("|");
  const isLast = (name: string) => Number(name === "O_DIRECTORY");
  return names.sort((a, b) => isLast(a) - isLast(b)).join("|");
}

const futexOperations = [
  "WAIT",
  "WAKE",
  "FD",
  "REQUEUE",
  "CMP_REQUEUE",
  "WAKE_OP",
  "LOCK_PI",
  "UNLOCK_PI",
  "TRYLOCK_PI",
  "WAIT_BITSET",
  "WAKE_BITSET",
  "WAIT_REQUEUE_PI",
  "CMP_REQUEUE_PI",
  "LOCK_PI2",
] as const;

/** `FUTEX_WAIT_PRIVATE`. */
export function futexText(value: bigint): string {
  const number = Number(BigInt.asUintN(32, value));
  const name = futexOperations[number & 0x7f];
  if (name === undefined) return `0x${number.toString(16)}`;
  return `FUTEX_${name}${number & 0x80 ? "_PRIVATE" : ""}${number & 0x100 ? "|FUTEX_CLOCK_REALTIME" : ""}`;
}

/** A mode in octal, as in `open`; `S_IFREG|0644` with the file's kind. */
export function modeText(value: number): string {
  const kinds: Names = [
    [0o140000, "S_IFSOCK"],
    [0o120000, "S_IFLNK"],
    [0o100000, "S_IFREG"],
    [0o060000, "S_IFBLK"],
    [0o040000, "S_IFDIR"],
    [0o020000, "S_IFCHR"],
    [0o010000, "S_IFIFO"],
  ];
  const kind = kinds.find(([bits]) => (value & 0o170000) === bits)?.[1];
  const special: Names = [
    [0o4000, "S_ISUID"],
    [0o2000, "S_ISGID"],
    [0o1000, "S_ISVTX"],
  ];
  const names = special.filter(([bit]) => value & bit).map(([, name]) => name);
  return [...(kind ? [kind] : []), ...names, octal(value & 0o777)].join("|");
}

export function octal(value: number): string {
  return `0${value.toString(8)}`.padStart(3, "0");
}
