import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { constant } from "../pass/collect-code.js";
import {
  cloneText,
  type FlagTable,
  flagsText,
  octal,
  openText,
  type ValueTable,
  valueText,
} from "./flags.js";
import { type CallForm, type CallNumbers, type CallPlace, hexText, viewOf } from "./form.js";
import { formOf } from "./forms.js";
import * as kinds from "./kinds.js";
import { signalText } from "./signal-names.js";
import type { Syscall } from "./syscalls.js";
import { descriptorText, formatArgument, formatResult, pointerText } from "./text.js";

type Kind = kinds.ArgumentKind;

const number = (text: (value: bigint) => string): Kind => ({ text });
const flags = (table: FlagTable) => number((value) => flagsText(table, value));
const one = (table: ValueTable) => number((value) => valueText(table, value));
const int = number((value) => String(BigInt.asIntN(32, value)));
const long = number((value) => String(BigInt.asIntN(64, value)));
const pointer = number(pointerText);
const descriptor = number(descriptorText);
const size = number(String);
const hexadecimal = number(hexText);
const open = number(openText);
const mode = number((value) => octal(Number(value & 0xffffn)));
const signal = number(signalText);
const { string, read, timespec, stat } = kinds;
const data = kinds.written(2);
const address = kinds.socketAddress(2);
/** Read as its declaration says. */
const declared = undefined;

/** The calls whose arguments say more than their declarations; what follows the last is as declared. */
const shapes: Readonly<Record<string, readonly (Kind | undefined)[]>> = {
  accept: [descriptor],
  accept4: [descriptor, declared, declared, flags("sockets")],
  access: [string, flags("access")],
  arch_prctl: [one("arch"), pointer],
  bind: [descriptor, address, int],
  brk: [pointer],
  clock_gettime: [one("clock"), kinds.timespecOut],
  clock_nanosleep: [one("clock"), flags("sleep"), timespec, kinds.clockRemainder],
  clone: [number(cloneText), pointer, pointer, pointer, pointer],
  connect: [descriptor, address, int],
  dup2: [descriptor, descriptor],
  dup3: [descriptor, descriptor, flags("pipes")],
  faccessat: [descriptor, string, flags("access")],
  faccessat2: [descriptor, string, flags("access"), flags("at")],
  fchmodat: [descriptor, string, mode],
  fchownat: [descriptor, string, int, int, flags("at")],
  fcntl: [descriptor, one("fcntl"), kinds.controlled],
  fstat: [descriptor, stat],
  getcwd: [read],
  getitimer: [one("timers"), kinds.timerOut],
  getrandom: [kinds.random, declared, flags("random")],
  gettimeofday: [kinds.timevalOut],
  kill: [int, signal],
  linkat: [descriptor, string, descriptor, string, flags("at")],
  lseek: [descriptor, long, one("whence")],
  lstat: [string, stat],
  madvise: [pointer, size, one("advice")],
  mmap: [pointer, size, flags("prot"), flags("map"), descriptor, hexadecimal],
  mount: [string, string, string, flags("mount")],
  mprotect: [pointer, size, flags("prot")],
  munmap: [pointer, size],
  nanosleep: [timespec, kinds.remainder],
  newfstatat: [descriptor, string, stat, flags("at")],
  open: [string, open, mode],
  openat: [descriptor, string, open, mode],
  pipe: [kinds.pipe],
  pipe2: [kinds.pipe, flags("pipes")],
  poll: [kinds.polled, declared, int],
  pread64: [descriptor, read, declared, long],
  prlimit64: [int, one("limit"), kinds.limits, kinds.limitsOut],
  pselect6: [int],
  pwrite64: [descriptor, data, declared, long],
  read: [descriptor, read],
  readlink: [string, read],
  readlinkat: [descriptor, string, read],
  recvfrom: [descriptor, read, declared, flags("messages")],
  renameat: [descriptor, string, descriptor, string],
  renameat2: [descriptor, string, descriptor, string],
  rseq: [pointer, hexadecimal],
  rt_sigaction: [signal, kinds.action, kinds.actionOut],
  rt_sigprocmask: [one("mask"), kinds.signalSet, kinds.signalSetOut],
  rt_sigqueueinfo: [int, signal, kinds.signalInfo],
  rt_sigsuspend: [kinds.signalSet],
  sendto: [descriptor, data, declared, flags("messages"), kinds.socketAddress(5), int],
  setitimer: [one("timers"), kinds.timer, kinds.timerOut],
  socket: [one("family"), flags("sockets"), kinds.protocol],
  socketpair: [one("family"), flags("sockets"), int, kinds.pipe],
  stat: [string, stat],
  statx: [descriptor, string, flags("at")],
  symlinkat: [string, descriptor, string],
  timer_create: [one("clock"), kinds.signalEvent, kinds.wordOut],
  timer_gettime: [int, kinds.clockTimerOut],
  timer_settime: [int, flags("sleep"), kinds.clockTimer, kinds.clockTimerOut],
  timerfd_create: [one("clock"), flags("timerFile")],
  timerfd_gettime: [descriptor, kinds.clockTimerOut],
  timerfd_settime: [descriptor, flags("timerPoint"), kinds.clockTimer, kinds.clockTimerOut],
  tgkill: [int, int, signal],
  tkill: [int, signal],
  umask: [mode],
  uname: [kinds.names],
  unlinkat: [descriptor, string, flags("at")],
  utimensat: [descriptor, string, pointer, flags("at")],
  wait4: [int, kinds.status, flags("wait"), pointer],
  write: [descriptor, data],
  writev: [descriptor, kinds.buffers(2), int],
};
/** In a 32-bit program words are 32 bits, and so these structures are others. */
const sameInCompat: ReadonlySet<Kind> = new Set<Kind>([
  string,
  read,
  kinds.random,
  data,
  kinds.pipe,
  kinds.status,
]);
/** Without `O_CREAT` or `O_TMPFILE` they have no mode. */
const creating = 0o100n | 0o20000000n;

/** Of `fcntl`: F_GETFD, F_GETFL, F_GETOWN, F_GETPIPE_SZ. */
const plainControls: ReadonlySet<number> = new Set([1, 3, 9, 1032]);

/** How the arguments of a call are read and shown. */
export class CallShape {
  readonly call: Syscall;
  private readonly form: CallForm | undefined;
  private readonly kinds: readonly (Kind | undefined)[];
  /** How many items each argument has at the call's beginning, and of its own at its end. */
  private readonly counts: readonly { readonly before: number; readonly after: number }[];

  constructor(call: Syscall) {
    this.call = call;
    this.form = formOf(call.name);
    this.kinds = kindsOf(call);
    this.counts = this.kinds.map((kind, i) => ({
      before: kind?.before?.(nowhere, i).length ?? 0,
      after: kind?.after?.(nowhere, i).length ?? 0,
    }));
  }

  /** What is collected at the call's beginning, or at its end. */
  items(place: CallPlace): ProbeItem[] {
    const { form } = this;
    if (form) return [...form.before(place), ...(place.result ? form.after(place) : [])];
    return this.kinds.flatMap((kind, i) => [
      ...(kind?.before?.(place, i) ?? []),
      ...(place.result ? (kind?.after?.(place, i) ?? []) : []),
    ]);
  }

  /** Calls with the same items are collected by the same probe. */
  get key(): string {
    const words = this.call.isCompat ? "compat" : this.call.hasShortWords ? "short" : "64";
    if (this.form) return `${words} form ${this.call.name}`;
    const memory = this.kinds.map((kind) => (kind && isMemory(kind) ? keyOf(kind) : ""));
    return `${words} ${memory.join().replace(/,+$/, "")}`;
  }

  /** Does any of it lie in memory? */
  get collects(): boolean {
    return this.form !== undefined || this.kinds.some((kind) => kind && isMemory(kind));
  }

  /**
   * `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`
   *
   * @param before what was collected when it began
   * @param after what was collected when it ended
   */
  text(numbers: CallNumbers, before: readonly HitPiece[], after: readonly HitPiece[]): string {
    const shown = this.argumentTexts(numbers, before, after);
    const { result } = numbers;
    const ended = result === undefined ? "" : ` = ${formatResult(this.call.name, result)}`;
    return `${this.call.name}(${shown.join(", ")})${ended}`;
  }

  /** Each argument as it is shown. */
  argumentTexts(numbers: CallNumbers, before: readonly HitPiece[], after: readonly HitPiece[]): string[] {
    if (this.form) return this.formTexts(this.form, numbers, before, after);
    const values = this.count === undefined ? numbers.arguments : numbers.arguments.slice(0, this.count);
    let early = 0;
    let late = 0;
    const texts = values.map((value, i) => {
      const count = this.counts[i] ?? { before: 0, after: 0 };
      const first = before.slice(early, early + count.before);
      const again = after.slice(late, late + count.before + count.after);
      early += count.before;
      late += count.before + count.after;
      return this.argumentText(i, value, numbers, first, again);
    });
    return texts.slice(0, this.used(numbers));
  }

  private formTexts(
    form: CallForm,
    numbers: CallNumbers,
    before: readonly HitPiece[],
    after: readonly HitPiece[],
  ): string[] {
    const count = form.before(nowhere).length;
    const again = after.slice(0, count);
    return form.texts({
      ...numbers,
      wordBytes: hasShortWords(this.call) ? 4 : 8,
      early: before,
      before: Array.from({ length: count }, (_, i) => (viewOf(before[i], 0) ? before[i] : again[i])),
      again,
      after: after.slice(count),
    });
  }

  private argumentText(
    i: number,
    value: bigint,
    numbers: CallNumbers,
    first: readonly HitPiece[],
    again: readonly HitPiece[],
  ): string {
    const kind = this.kinds[i];
    const parameter = this.call.parameters?.[i] ?? { name: `arg${i}`, type: "unsigned long" };
    if (!kind) return isUnknown(this.call) ? hexText(value) : formatArgument(parameter, value);
    if (isMemory(kind) && value === 0n) return "NULL";
    // What could not be read when the call began, because nobody had touched it yet, can be at its end.
    const early = first.length > 0 ? kind.text(value, first, numbers) : undefined;
    return early ?? kind.text(value, again, numbers) ?? pointerText(value);
  }

  private get count(): number | undefined {
    return this.call.parameters?.length;
  }

  /** How many arguments the call looks at: some depend on others. */
  private used({ arguments: values }: CallNumbers): number | undefined {
    switch (this.call.name) {
      case "open":
        return (values[1]! & creating) === 0n ? 2 : 3;
      case "openat":
        return (values[2]! & creating) === 0n ? 3 : 4;
      case "fcntl":
        return plainControls.has(Number(values[1]!)) ? 2 : 3;
      default:
        return undefined;
    }
  }
}

function kindsOf(call: Syscall): readonly (Kind | undefined)[] {
  const known = Object.hasOwn(shapes, call.name) ? shapes[call.name]! : [];
  const count = Math.max(known.length, call.parameters?.length ?? 0);
  const all = Array.from({ length: count }, (_, i) => known[i] ?? declaredKind(call, i));
  if (!hasShortWords(call)) return all;
  return all.map((kind) => (kind && isMemory(kind) && !sameInCompat.has(kind) ? pointer : kind));
}

function hasShortWords(call: Syscall): boolean {
  return call.isCompat === true || call.hasShortWords === true;
}

/** A number that no call has, or none of its kind. */
function isUnknown({ name, parameters }: Syscall): boolean {
  return name.includes("#") || (parameters === undefined && name.startsWith("syscall_"));
}

function isMemory(kind: Kind): boolean {
  return kind.before !== undefined || kind.after !== undefined;
}

/** A constant text is a path or a name. */
function declaredKind(call: Syscall, i: number): Kind | undefined {
  const type = call.parameters?.[i]?.type ?? "";
  return /^const (unsigned )?char ?\*$/.test(type) ? string : undefined;
}

const keys = new Map<Kind, string>();
function keyOf(kind: Kind): string {
  let key = keys.get(kind);
  if (key === undefined) {
    key = String(keys.size);
    keys.set(kind, key);
  }
  return key;
}

/** A place to count items at. */
const zero = constant(0);
const nowhere: CallPlace = {
  argument: () => zero,
  stack: zero,
  program: { argumentStart: zero, argumentEnd: zero, environmentEnd: zero },
  result: zero,
};
