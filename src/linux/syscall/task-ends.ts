import { guestAddress } from "../../base/units.js";
import type { ProbeChannel, ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import type { HistoryTask } from "../history/task-history.js";
import { constant } from "../pass/collect-code.js";
import { currentCode, type ProbeNames } from "../pass/probe-names.js";
import { ProbeSet } from "../pass/probe-set.js";
import { currentItems, currentPieces, numberOf, readCurrent } from "../pass/probe-task.js";
import type { ExitEvent, SupersededEvent } from "./task-events.js";

/** `SIGNAL_GROUP_EXIT`: the whole program ends. Source: include/linux/sched/signal.h. */
const groupEnds = 4n;

interface End {
  readonly task: HistoryTask;
  readonly code: number;
}

/** A task begins to end, or how it ends is known. */
export type EndHit = "begins" | "is-known";

/**
 * Tells the ends of tasks as wait(2) does: with the code of the whole program where that ends (its core was dumped
 * meanwhile), and of a program's first thread when all others have ended, too, or when one of them takes its place by
 * `execve`.
 */
export class TaskEnds {
  private readonly names: ProbeNames;
  private readonly probes = new ProbeSet<EndHit>();
  private readonly current: readonly ProbeItem[];
  /** Is it told when all is known, or when the task begins to end? */
  private tellsLate = false;
  private readonly ending = new Map<bigint, End>();
  /** First threads that wait for their program's other ones, by program. */
  private readonly waiting = new Map<number, End>();

  constructor(names: ProbeNames) {
    this.names = names;
    this.current = currentItems(names) ?? [];
  }

  async place(channel: ProbeChannel): Promise<void> {
    const { names } = this;
    const begins = names.address("do_exit");
    if (begins === undefined) return;
    await this.probes.place(
      channel,
      "begins",
      { at: "execute", address: guestAddress(begins) },
      { collect: [registers("rdi"), ...this.current] },
    );
    // By then a core has been dumped.
    const late = names.address("exit_files");
    const group = currentCode(names)
      ?.follow()
      .plus(names.types.findStruct("task_struct")?.findMember("signal")?.byteOffset ?? 0)
      .follow();
    const type = names.types.findStruct("signal_struct");
    const members = ["flags", "group_exit_code", "live"].map((name) => type?.findMember(name)?.byteOffset);
    if (late === undefined || !group || members.includes(undefined)) return;
    this.tellsLate = true;
    const numbers = members.map((offset): ProbeItem => {
      const address = group.plus(offset!);
      return { collect: "memory", address: address.bytes, length: constant(4).bytes, most: 4 };
    });
    await this.probes.place(
      channel,
      "is-known",
      { at: "execute", address: guestAddress(late) },
      { collect: [registers("rdi"), ...numbers, ...this.current] },
    );
  }

  /** What a hit of this id is; undefined when it is none of these. */
  hitOf(id: number): EndHit | undefined {
    return this.probes.meaningOf(id);
  }

  *take(hit: EndHit, pieces: readonly HitPiece[], from: number): Generator<ExitEvent> {
    const task = readCurrent(pieces.slice(-currentPieces));
    if (!task) return;
    if (hit === "begins") {
      // A thread of the kernel makes no calls.
      if (task.mm === 0n) return;
      const code = Number((numberOf(pieces[0]) ?? 0n) & 0xffffn);
      if (this.tellsLate) this.ending.set(task.address, { task, code });
      else yield { kind: "exit", task, from, code };
      return;
    }
    const end = this.ending.get(task.address);
    const [whose, flags, groupCode, live] = pieces.slice(0, 4).map(numberOf);
    // Files are also let go of where a new task could not be made.
    if (!end || whose !== task.address) return;
    this.ending.delete(task.address);
    const isWhole = ((flags ?? 0n) & groupEnds) !== 0n;
    const codeOf = (own: number) => (isWhole ? Number((groupCode ?? 0n) & 0xffffn) : own);
    const { pid, tgid } = end.task;
    if (pid === tgid && (live ?? 0n) > 0n) {
      this.waiting.set(tgid, end);
      return;
    }
    yield { kind: "exit", task: end.task, from, code: codeOf(end.code) };
    const first = live === 0n ? this.waiting.get(tgid) : undefined;
    if (!first) return;
    this.waiting.delete(tgid);
    yield { kind: "exit", task: first.task, from, code: codeOf(first.code) };
  }

  /** A task that is not its program's first has become another program. */
  *replaced(by: HistoryTask, from: number): Generator<SupersededEvent> {
    const first = by.pid === by.tgid ? undefined : this.waiting.get(by.tgid);
    if (!first) return;
    this.waiting.delete(by.tgid);
    yield { kind: "superseded", task: first.task, from, by: by.pid };
  }
}

function registers(name: string): ProbeItem {
  return { collect: "some-registers", names: [name] };
}
