import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { type Code, constant } from "../pass/collect-code.js";
import { addressText } from "./addresses.js";
import { flagsText, modeText, openText, valueText } from "./flags.js";
import type { CallNumbers, CallPlace } from "./form.js";
import { signalSetText, signalText } from "./signal-names.js";
import { signalFacts } from "./signals.js";
import { descriptorText, errorOf, pointerText, quoted } from "./text.js";

/** What an argument that leads to memory is shown as, and what has to be collected for that. */
export interface ArgumentKind {
  /** Collected when the call begins, and again at its end, where what nobody had touched is in memory. */
  readonly before?: (place: CallPlace, index: number) => ProbeItem[];
  /** Collected at its end. */
  readonly after?: (place: CallPlace, index: number) => ProbeItem[];
  /** Undefined: as a pointer. */
  text(value: bigint, pieces: readonly HitPiece[], call: CallNumbers): string | undefined;
}

const longestPath = 512;
/** As strace: so much of what is written and read is shown. */
const longestData = 32;
const mostPolled = 8;
const mostBuffers = 3;

function memory(address: Code, length: number): ProbeItem {
  return { collect: "memory", address: address.bytes, length: constant(length).bytes, most: length };
}

function text(address: Code, most: number): ProbeItem {
  return { collect: "text", address: address.bytes, most };
}

function some(address: Code, length: Code, most: number): ProbeItem {
  return { collect: "memory", address: address.bytes, length: length.bytes, most };
}

/** A path, or another string. */
export const string: ArgumentKind = {
  before: (place, i) => [text(place.argument(i), longestPath)],
  text: (_value, [piece]) =>
    piece && piece.state !== "unreadable" ? quoted(piece.bytes, piece.state === "cut") : undefined,
};

/** What a call is given to write; how much says another argument. */
export const written = (length: number): ArgumentKind => ({
  before: (place, i) => [some(place.argument(i), place.argument(length), longestData)],
  text: (_value, [piece]) =>
    piece && piece.state !== "unreadable" ? quoted(piece.bytes, piece.state === "cut") : undefined,
});

/** What a call has read: as much as its result says. */
export const read: ArgumentKind = {
  after: (place, i) => (place.result ? [some(place.argument(i), place.result, longestData)] : []),
  text: (_value, [piece], { result }) => {
    if (!piece || piece.state === "unreadable" || result === undefined || errorOf(result)) return undefined;
    return quoted(piece.bytes, piece.state === "cut");
  },
};

/** Bytes that are no text: all of them in hexadecimal. */
export const random: ArgumentKind = {
  ...read,
  text: (value, pieces, call) => {
    const [piece] = pieces;
    if (!piece || read.text(value, pieces, call) === undefined) return undefined;
    const bytes = [...piece.bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
    return `"${bytes.join("")}"${piece.state === "cut" ? "..." : ""}`;
  },
};

/** A fixed structure, before or after the call. */
function structure(when: "before" | "after", bytes: number, show: (view: DataView) => string): ArgumentKind {
  return {
    [when]: (place: CallPlace, i: number) => [memory(place.argument(i), bytes)],
    text: (_value, [piece], { result }) => {
      if (piece?.bytes.length !== bytes) return undefined;
      if (when === "after" && (result === undefined || errorOf(result))) return undefined;
      return show(viewOf(piece.bytes));
    },
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const seconds = (part: string) => (view: DataView) =>
  `{tv_sec=${view.getBigInt64(0, true)}, ${part}=${view.getBigUint64(8, true)}}`;

export const timespec = structure("before", 16, seconds("tv_nsec"));
export const timespecOut = structure("after", 16, seconds("tv_nsec"));
export const timeval = structure("before", 16, seconds("tv_usec"));
/** What is left of a sleep: told only of one that was interrupted, else nobody wrote it. */
export const remainder: ArgumentKind = {
  after: (place, i) => [memory(place.argument(i), 16)],
  text: (_value, [piece], { result }) => {
    if (piece?.bytes.length !== 16 || result === undefined || !errorOf(result)?.startsWith("ERESTART"))
      return undefined;
    return seconds("tv_nsec")(viewOf(piece.bytes));
  },
};
/** The same of `clock_nanosleep`; of a sleep up to a point in time (TIMER_ABSTIME) nothing is left. */
export const clockRemainder: ArgumentKind = {
  ...remainder,
  text: (value, pieces, call) =>
    (call.arguments[1] ?? 0n) & 1n ? undefined : remainder.text(value, pieces, call),
};
/** `struct itimerval`, `struct itimerspec`: a period, and when first. */
const periods = (part: string) => (view: DataView) => {
  const half = (offset: number) =>
    seconds(part)(new DataView(view.buffer, view.byteOffset + offset, view.byteLength - offset));
  return `{it_interval=${half(0)}, it_value=${half(16)}}`;
};
export const timer = structure("before", 32, periods("tv_usec"));
export const timerOut = structure("after", 32, periods("tv_usec"));
export const clockTimer = structure("before", 32, periods("tv_nsec"));
export const clockTimerOut = structure("after", 32, periods("tv_nsec"));
export const timevalOut = structure("after", 16, seconds("tv_usec"));
export const signalSet = structure("before", 8, (view) => signalSetText(view.getBigUint64(0, true)));
export const signalSetOut = structure("after", 8, (view) => signalSetText(view.getBigUint64(0, true)));
export const pipe = structure("after", 8, (view) => `[${view.getInt32(0, true)}, ${view.getInt32(4, true)}]`);
export const wordOut = structure("after", 4, (view) => `[${view.getInt32(0, true)}]`);

/** `struct kernel_sigaction`. */
function actionText(view: DataView): string {
  const handler = view.getBigUint64(0, true);
  const flags = view.getBigUint64(8, true);
  const name = handler === 0n ? "SIG_DFL" : handler === 1n ? "SIG_IGN" : pointerText(handler);
  const restorer = flags & 0x4000000n ? `, sa_restorer=${pointerText(view.getBigUint64(16, true))}` : "";
  const mask = signalSetText(view.getBigUint64(24, true));
  // A program's int is sign-extended when it has the highest bit.
  const beyond = flags >> 32n === 0n ? "" : `|0x${((flags >> 32n) << 32n).toString(16)}`;
  return `{sa_handler=${name}, sa_mask=${mask}, sa_flags=${flagsText("action", flags)}${beyond}${restorer}}`;
}
export const action = structure("before", 32, actionText);
export const actionOut = structure("after", 32, actionText);

/** `struct rlimit64`: sizes of whole KiB as strace has them. */
function limitsText(view: DataView): string {
  const [soft, hard] = [0, 8].map((at) => limitText(view.getBigUint64(at, true)));
  return `{rlim_cur=${soft}, rlim_max=${hard}}`;
}

function limitText(value: bigint): string {
  if (value === 0xffff_ffff_ffff_ffffn) return "RLIM64_INFINITY";
  return value > 1024n && value % 1024n === 0n ? `${value / 1024n}*1024` : String(value);
}
export const limits = structure("before", 16, limitsText);
export const limitsOut = structure("after", 16, limitsText);

/** `struct new_utsname`, in short. */
export const names = structure("after", 130, (view) => {
  const [system, node] = [0, 65].map((at) => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + at, 65);
    return quoted(bytes.subarray(0, Math.max(bytes.indexOf(0), 0)), false);
  });
  return `{sysname=${system}, nodename=${node}, ...}`;
});

/** `struct sigevent`: how a timer tells that it has run out. Source: include/uapi/asm-generic/siginfo.h. */
export const signalEvent = structure("before", 64, (view) => {
  const [value, notify] = [view.getBigUint64(0, true), view.getInt32(12, true)];
  const given =
    value === 0n
      ? []
      : [`sigev_value={sival_int=${view.getInt32(0, true)}, sival_ptr=${pointerText(value)}}`];
  const name = valueText("notify", BigInt(notify));
  const thread = name === "SIGEV_THREAD_ID" ? [`sigev_notify_thread_id=${view.getInt32(16, true)}`] : [];
  const signal = signalText(BigInt(view.getInt32(8, true)));
  return `{${[...given, `sigev_signo=${signal}`, `sigev_notify=${name}`, ...thread].join(", ")}}`;
});

/** A protocol, within a family of addresses. */
export const protocol: ArgumentKind = {
  text: (value, _pieces, call) => {
    const family = valueText("family", call.arguments[0] ?? 0n);
    return family.startsWith("AF_INET") ? valueText("protocol", value) : String(BigInt.asIntN(32, value));
  },
};

/** The third argument of `fcntl`: of F_SETFD flags, of F_SETFL those of `open`. */
export const controlled: ArgumentKind = {
  text: (value, _pieces, call) => {
    const command = valueText("fcntl", call.arguments[1] ?? 0n);
    if (command === "F_SETFD") return flagsText("descriptor", value);
    if (command === "F_SETFL") return openText(value);
    if (command.startsWith("F_DUPFD") || /^F_SET(PIPE_SZ|OWN)$/.test(command))
      return String(BigInt.asIntN(32, value));
    return undefined;
  },
};

/** What a signal is sent with. */
export const signalInfo = structure("before", 48, (view) => {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, 48);
  const text = signalFacts({ bytes })?.text;
  return text === undefined ? "{...}" : text.slice(text.indexOf("{"));
});

/** `struct stat`, in short: its kind, and its size or device number. */
export const stat = structure("after", 56, (view) => {
  const mode = view.getUint32(24, true);
  const isDevice = [0o020000, 0o060000].includes(mode & 0o170000);
  const device = Number(view.getBigUint64(40, true));
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  const rest = isDevice
    ? `st_rdev=makedev(0x${((device >>> 8) & 0xfff).toString(16)}, 0x${minor.toString(16)})`
    : `st_size=${view.getBigInt64(48, true)}`;
  return `{st_mode=${modeText(mode)}, ${rest}, ...}`;
});

/** What `wait` says of a child. Source: include/uapi/linux/wait.h. */
export const status: ArgumentKind = {
  after: (place, i) => [memory(place.argument(i), 4)],
  text: (_value, [piece], { result }) => {
    if (piece?.bytes.length !== 4 || result === undefined || errorOf(result) || result === 0n)
      return undefined;
    return `[{${statusText(viewOf(piece.bytes).getUint32(0, true))}}]`;
  },
};

function statusText(word: number): string {
  if (word === 0xffff) return "WIFCONTINUED(s)";
  if ((word & 0xff) === 0x7f)
    return `WIFSTOPPED(s) && WSTOPSIG(s) == ${signalText(BigInt((word >> 8) & 0xff))}`;
  if ((word & 0x7f) === 0) return `WIFEXITED(s) && WEXITSTATUS(s) == ${(word >> 8) & 0xff}`;
  const dumped = word & 0x80 ? " && WCOREDUMP(s)" : "";
  return `WIFSIGNALED(s) && WTERMSIG(s) == ${signalText(BigInt(word & 0x7f))}${dumped}`;
}

/** `struct iovec []` to write; how many says another argument. */
export const buffers = (count: number): ArgumentKind => ({
  before: (place, i) => [
    some(place.argument(i), place.argument(count).shifted(4), 16 * mostBuffers),
    ...Array.from({ length: mostBuffers }, (_, k) => place.argument(i).plus(16 * k)).map((at) =>
      some(at.follow(), at.plus(8).follow(), longestData),
    ),
  ],
  text: (_value, [list, ...parts], call) => {
    if (!list || list.state === "unreadable") return undefined;
    const view = viewOf(list.bytes);
    const shown: string[] = [];
    for (let k = 0; k < list.bytes.length >> 4; k++) {
      const part = parts[k];
      const bytes = view.getBigUint64(16 * k + 8, true);
      const base =
        part && part.state !== "unreadable"
          ? quoted(part.bytes, part.state === "cut")
          : pointerText(view.getBigUint64(16 * k, true));
      shown.push(`{iov_base=${base}, iov_len=${bytes}}`);
    }
    const isMore = call.arguments[count]! > BigInt(shown.length);
    return `[${shown.join(", ")}${isMore ? ", ..." : ""}]`;
  },
});

/** `struct pollfd []`. */
export const polled: ArgumentKind = {
  before: (place, i) => [some(place.argument(i), place.argument(i + 1).shifted(3), 8 * mostPolled)],
  text: (_value, [list]) => {
    if (!list || list.state === "unreadable") return undefined;
    const view = viewOf(list.bytes);
    const shown = Array.from({ length: list.bytes.length >> 3 }, (_, k) => {
      const events = flagsText("poll", BigInt(view.getUint16(8 * k + 4, true)));
      return `{fd=${descriptorText(BigInt(view.getInt32(8 * k, true)))}, events=${events}}`;
    });
    return `[${shown.join(", ")}${list.state === "cut" ? ", ..." : ""}]`;
  },
};

/** A `struct sockaddr` that is given; how long says another argument. */
export const socketAddress = (length: number): ArgumentKind => ({
  before: (place, i) => [some(place.argument(i), place.argument(length), 128)],
  text: (_value, [piece]) => (piece && piece.state !== "unreadable" ? addressText(piece.bytes) : undefined),
});
