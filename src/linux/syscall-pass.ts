import { VmtapeError } from "../base/errors.js";
import { guestAddress, type Icount } from "../base/units.js";
import type { ProbeChannel, ProbeItem } from "../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../qemu/probe-hits.js";
import type { CountedCheckpoint } from "../replay/checkpoint.js";
import { hitBatches } from "../replay/hit-batches.js";
import type { SessionOptions } from "../replay/session.js";
import { addressOfKey } from "../symbols/address.js";
import type { KernelPlacement } from "../symbols/kaslr.js";
import type { Tape } from "../tape/tape.js";
import { constant, register } from "./collect-code.js";
import type { LinuxKernel } from "./linux-kernel.js";
import type { ArgumentText } from "./syscall-text.js";
import type { HistoryTask, TaskHistory } from "./task-history.js";

/** A system call, from its entry to its result. */
export interface SyscallEvent {
  readonly task: HistoryTask;
  readonly number: number;
  /** The six argument registers. */
  readonly arguments: readonly bigint[];
  /** What those of {@link textArguments} point to, where that is mapped and text. */
  readonly texts: readonly (ArgumentText | undefined)[];
  /** The instant of its `syscall`. */
  readonly from: number;
  /** The instant at which the kernel had its result; undefined when it did not return while the tape was watched. */
  readonly to: number | undefined;
  readonly result: bigint | undefined;
}

export interface SyscallPassOptions extends Pick<SessionOptions, "qemu" | "debug" | "onProgress"> {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
  /** The tape's. */
  readonly history: TaskHistory;
  readonly place: KernelPlacement;
  /** Give each call when it begins, without its result. */
  readonly atEntry?: boolean;
  /** Only of tasks that pass. */
  readonly isWanted?: (task: HistoryTask) => boolean;
  /** Calls begun before this instant are left out. */
  readonly fromIcount?: Icount;
  /** The replay ends here. */
  readonly toIcount?: Icount;
  /** Begin the replay here, not behind `fromIcount`. */
  readonly from?: CountedCheckpoint;
  readonly signal?: AbortSignal;
}

const argumentRegisters = ["rdi", "rsi", "rdx", "r10", "r8", "r9"] as const;
/** Which arguments may point to text: paths, names, what is written. */
export const textArguments = [0, 1, 2, 3] as const;
/** Where `struct pt_regs` keeps those. */
const savedRegisters = ["di", "si", "dx", "r10"] as const;
const longestText = 128;
const entry = { id: 1, symbol: "entry_SYSCALL_64" } as const;
/** Called with the task's registers once the result is among them. */
const leaving = { id: 2, symbol: "syscall_exit_to_user_mode" } as const;

/**
 * The system calls of a tape in the order in which they end; those that never do come last. One replay in which the
 * plugin tells each entry and result in passing, without following branches.
 *
 * @throws VmtapeError `not-found` when the kernel lacks the symbols or types
 */
export async function* syscallEvents(
  tape: Tape,
  kernel: LinuxKernel,
  options: SyscallPassOptions,
): AsyncGenerator<SyscallEvent> {
  const { plugin, from, qemu, debug, onProgress, signal, toIcount, place } = options;
  const batches = hitBatches(
    tape,
    {
      plugin,
      ...(qemu && { qemu }),
      ...(debug && { debug }),
      ...(onProgress && { onProgress: (report) => onProgress({ ...report, doing: "tracing system calls" }) }),
      ...(from && { from }),
      ...(toIcount !== undefined && { to: toIcount }),
      prepare: (channel) => setProbes(channel, kernel, place),
    },
    signal,
  );
  const matcher = new SyscallMatcher(options);
  for await (const batch of batches) {
    for (let i = 0; i < batch.length; i++) {
      const event = matcher.take(batch, i);
      if (event) yield event;
    }
  }
  yield* matcher.rest();
}

async function setProbes(hits: ProbeChannel, kernel: LinuxKernel, place: KernelPlacement): Promise<void> {
  const { table } = kernel.symbols;
  const address = (symbol: string) => {
    const index = table.names.find(symbol)[0];
    if (index !== undefined) return guestAddress(addressOfKey(table.starts[index]!) + place.slide);
    throw new VmtapeError("not-found", `the kernel has no symbol '${symbol}'`, { got: symbol });
  };
  const saved = kernel.types?.findStruct("pt_regs");
  const ax = saved?.findMember("ax");
  if (!saved || !ax) {
    throw new VmtapeError(
      "not-found",
      `Linux ${kernel.symbols.release ?? ""} carries no BTF, so the results of its system calls cannot be read`,
    );
  }
  const items: ProbeItem[] = [
    ...["rax", ...argumentRegisters].map((name): ProbeItem => ({ collect: "some-registers", names: [name] })),
    ...textArguments.map(
      (i): ProbeItem => ({
        collect: "text",
        address: register(argumentRegisters[i]).bytes,
        most: longestText,
      }),
    ),
  ];
  await hits.place(entry.id, { at: "execute", address: address(entry.symbol) }, { collect: items });
  const result: ProbeItem = {
    collect: "memory",
    address: register("rdi").plus(ax.byteOffset).bytes,
    length: constant(8).bytes,
    most: 8,
  };
  // A page that nobody had touched is there once the kernel has read it.
  const late = textArguments.map((i): ProbeItem => {
    const at = register("rdi").plus(saved.member(savedRegisters[i]).byteOffset).follow();
    return { collect: "text", address: at.bytes, most: longestText };
  });
  await hits.place(
    leaving.id,
    { at: "execute", address: address(leaving.symbol) },
    { collect: [result, ...late] },
  );
}

/** Pairs entries and results by task: each has at most one call open. */
class SyscallMatcher {
  private readonly options: SyscallPassOptions;
  private readonly open = new Map<bigint, SyscallEvent>();

  constructor(options: SyscallPassOptions) {
    this.options = options;
  }

  /** The call that hit `i` ends, if it does and was asked for. */
  take(batch: HitBatch, i: number): SyscallEvent | undefined {
    const { history, isWanted, fromIcount, atEntry } = this.options;
    const icount = Number(batch.icount(i));
    const task = history.taskAt(icount);
    if (batch.id(i) === entry.id) {
      if (fromIcount !== undefined && icount < Number(fromIcount)) return undefined;
      if (isWanted && !isWanted(task)) return undefined;
      const begun = readEntry(batch.pieces(i), task, icount);
      if (atEntry) return begun;
      this.open.set(task.address, begun);
      return undefined;
    }
    const begun = this.open.get(task.address);
    this.open.delete(task.address);
    // A new task's first way to user space ends no call of its own.
    if (!begun) return undefined;
    const [result, ...late] = batch.pieces(i);
    const texts = begun.texts.map((text, j) => text ?? (late[j] && textOf(late[j])));
    return { ...begun, texts, to: icount, result: word(result) };
  }

  /** Calls that have not returned. */
  *rest(): Generator<SyscallEvent> {
    yield* this.open.values();
  }
}

function readEntry(pieces: readonly HitPiece[], task: HistoryTask, from: number): SyscallEvent {
  const [number, ...values] = pieces.slice(0, 1 + argumentRegisters.length).map((piece) => word(piece) ?? 0n);
  const texts = pieces.slice(1 + argumentRegisters.length).map(textOf);
  return {
    task,
    number: Number(BigInt.asIntN(32, number!)),
    arguments: values,
    texts,
    from,
    to: undefined,
    result: undefined,
  };
}

function textOf(piece: HitPiece): ArgumentText | undefined {
  if (piece.state === "unreadable") return undefined;
  return { text: Buffer.from(piece.bytes).toString("utf8"), cut: piece.state === "cut" };
}

function word(piece: HitPiece | undefined): bigint | undefined {
  if (!piece || piece.bytes.length < 8) return undefined;
  return new DataView(piece.bytes.buffer, piece.bytes.byteOffset, 8).getBigUint64(0, true);
}
