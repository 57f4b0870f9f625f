import type { HitPiece } from "../../qemu/probe-hits.js";
import { flagsText } from "./flags.js";
import { type CallForm, hasFailed, hexText, memoryItem, viewOf } from "./form.js";
import { signalText } from "./signal-names.js";
import { pointerText } from "./text.js";

/** `struct clone_args`, by its three sizes so far. Source: include/uapi/linux/sched.h, CLONE_ARGS_SIZE_VER0 to 2. */
const sizes = [64, 80, 88] as const;
const fields = {
  ...{ flags: 0, pidfd: 8, child_tid: 16, parent_tid: 24, exit_signal: 32, stack: 40, stack_size: 48 },
  ...{ tls: 56, set_tid: 64, set_tid_size: 72, cgroup: 80 },
} as const;
const flag = {
  pidfd: 0x1000n,
  tls: 0x80000n,
  parentTid: 0x100000n,
  childTid: 0x200000n | 0x1000000n,
  cgroup: 0x200000000n,
} as const;
const mostTids = 32;
const largestInt = 0x7fff_ffffn;

/** `clone3`: a structure that says it all, and two numbers that come back. */
export const clone3: CallForm = {
  before: (place) => {
    const at = place.argument(0);
    return [
      ...sizes.map((bytes) => memoryItem(at, bytes)),
      {
        collect: "memory",
        address: at.plus(fields.set_tid).follow().bytes,
        length: at.plus(fields.set_tid_size).follow().shifted(2).bytes,
        most: 4 * mostTids,
      },
    ];
  },
  after: (place) => {
    const at = place.argument(0);
    return [fields.pidfd, fields.parent_tid].map((offset) => memoryItem(at.plus(offset).follow(), 4));
  },
  texts: (call) => {
    const [address = 0n, size = 0n] = call.arguments;
    const known = sizes.findLastIndex((bytes) => size >= BigInt(bytes));
    const view = known < 0 || address === 0n ? undefined : viewOf(call.before[known], sizes[known]!);
    if (!view) return [pointerText(address), String(size)];
    const args = new CloneArguments(view);
    const back = hasFailed(call) ? "" : returnedText(args.flags, call.after);
    return [`{${args.texts(call.before[sizes.length]).join(", ")}}${back}`, String(size)];
  },
};

class CloneArguments {
  readonly flags: bigint;
  private readonly view: DataView;

  constructor(view: DataView) {
    this.view = view;
    this.flags = this.word("flags");
  }

  texts(tidList: HitPiece | undefined): string[] {
    const { flags } = this;
    const pointer = (name: keyof typeof fields) => `${name}=${pointerText(this.word(name))}`;
    const exit = this.word("exit_signal");
    const texts = [`flags=${cloneFlags(flags)}`];
    if (flags & flag.pidfd) texts.push(pointer("pidfd"));
    if (flags & flag.childTid) texts.push(pointer("child_tid"));
    if (flags & flag.parentTid) texts.push(pointer("parent_tid"));
    texts.push(`exit_signal=${exit < largestInt ? signalText(exit) : exit}`);
    texts.push(pointer("stack"), `stack_size=${hexText(this.word("stack_size"))}`);
    if (flags & flag.tls) texts.push(pointer("tls"));
    const [list, count] = [this.word("set_tid"), this.word("set_tid_size")];
    if (list !== 0n || count !== 0n) {
      texts.push(`set_tid=${tidTexts(tidList, list, count)}`, `set_tid_size=${count}`);
    }
    const group = this.word("cgroup");
    if (group !== 0n || flags & flag.cgroup) texts.push(`cgroup=${group}`);
    return texts;
  }

  /** 0 where the structure is an older, shorter one. */
  private word(name: keyof typeof fields): bigint {
    const offset = fields[name];
    return offset + 8 <= this.view.byteLength ? this.view.getBigUint64(offset, true) : 0n;
  }
}

/** Source: include/uapi/linux/sched.h. The lowest byte is no signal here, and there are flags beyond 32 bits. */
function cloneFlags(flags: bigint): string {
  const more = [
    [0x80n, "CLONE_NEWTIME"],
    [0x1_0000_0000n, "CLONE_CLEAR_SIGHAND"],
    [flag.cgroup, "CLONE_INTO_CGROUP"],
  ] as const;
  const names = more.filter(([bit]) => flags & bit).map(([, name]) => name);
  const rest = more.reduce((left, [bit]) => left & ~bit, flags);
  const plain = rest & 0xffff_ffffn;
  const beyond = rest & ~0xffff_ffffn;
  return (
    [
      ...(plain === 0n ? [] : [flagsText("clone", plain)]),
      ...names,
      ...(beyond === 0n ? [] : [hexText(beyond)]),
    ].join("|") || "0"
  );
}

function tidTexts(list: HitPiece | undefined, address: bigint, count: bigint): string {
  const view = count > 0n && count <= BigInt(mostTids) ? viewOf(list, 4 * Number(count)) : undefined;
  if (!view) return pointerText(address);
  return `[${Array.from({ length: Number(count) }, (_, i) => view.getInt32(4 * i, true)).join(", ")}]`;
}

function returnedText(flags: bigint, [pidfd, tid]: readonly (HitPiece | undefined)[]): string {
  const texts = [
    ...(flags & flag.pidfd ? [[`pidfd`, pidfd] as const] : []),
    ...(flags & flag.parentTid ? [[`parent_tid`, tid] as const] : []),
  ].map(([name, piece]) => `${name}=[${viewOf(piece, 4)?.getInt32(0, true) ?? "?"}]`);
  return texts.length === 0 ? "" : ` => {${texts.join(", ")}}`;
}
