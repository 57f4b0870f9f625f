import type { LinuxGuest } from "../guest/linux-guest.js";
import { oneOf, type StructView } from "../guest/struct-view.js";
import { kernelThreadName } from "./kernel-thread-name.js";

/** A task as `ps` shows it: a process, or one of its threads. */
export interface Task {
  /** Address of its `struct task_struct`. */
  readonly address: bigint;
  readonly pid: number;
  /** The process: pid of its first thread. */
  readonly tgid: number;
  /** The parent process's pid; 0 for what the kernel started. */
  readonly parent: number;
  /** `comm`; of a kernel thread as {@link kernelThreadName} has it. */
  readonly name: string;
  /** The letter of /proc/PID/stat: R S D T t X Z P I. */
  readonly state: string;
  readonly uid: number;
  readonly gid: number;
  readonly effectiveUid: number;
  readonly effectiveGid: number;
  readonly isKernelThread: boolean;
  /** Nanoseconds of the guest's uptime at which it started. */
  readonly startedAt: bigint;
  /** Address of its `struct mm_struct`; undefined for kernel threads and what has ended. */
  readonly mm: bigint | undefined;
}

/** States in the order of their bits, as /proc shows them. Source: fs/proc/array.c, task_state_array. */
const stateLetters = "RSDTtXZPI";
/** `TASK_REPORT`: the bits that are shown. Source: include/linux/sched.h. */
const reportedBits = 0x7f;
/** `TASK_UNINTERRUPTIBLE | TASK_NOLOAD`: a kernel thread that waits for work. */
const idleBits = 0x402;
const idle = "I";
/** `TASK_RTLOCK_WAIT` and `TASK_FROZEN` (from 6.1 on) are shown as D. */
const shownAsSleep = 0x1000 | 0x8000;
const uninterruptible = "D";

/** `PF_KTHREAD`. Source: include/linux/sched.h. */
const kernelThreadFlag = 0x0020_0000;

/** Reads tasks; keeps the layout of what it reads. */
export class TaskReader {
  private readonly guest: LinuxGuest;
  private readonly state: string;
  private readonly startedAt: string;
  private readonly members: readonly string[];
  /** tgid by address of the task, for parents. */
  private readonly processes = new Map<bigint, number>();

  /** @throws VmtapeError `not-found` without BTF */
  constructor(guest: LinuxGuest) {
    this.guest = guest;
    const type = guest.types.struct("task_struct");
    this.state = oneOf(type, "__state", "state"); // renamed in 5.14
    this.startedAt = oneOf(type, "start_boottime", "real_start_time", "start_time");
    this.members = [
      "pid",
      "tgid",
      "comm",
      "flags",
      "exit_state",
      "real_parent",
      "real_cred",
      "mm",
      this.state,
      this.startedAt,
    ];
  }

  /** The task at an address. @throws VmtapeError `bad-memory` */
  async at(address: bigint): Promise<Task> {
    const view = await this.guest.read("task_struct", address, this.members);
    const flags = view.number("flags");
    const isKernelThread = (flags & kernelThreadFlag) !== 0;
    const comm = view.text("comm");
    const tgid = view.number("tgid");
    this.processes.set(address, tgid);
    const mm = view.word("mm");
    return {
      address,
      pid: view.number("pid"),
      tgid,
      parent: await this.processOf(view.word("real_parent")),
      name: isKernelThread ? await kernelThreadName(this.guest, address, comm, flags) : comm,
      state: stateLetter(view.number(this.state), view.number("exit_state")),
      ...(await this.ids(view)),
      isKernelThread,
      startedAt: view.word(this.startedAt),
      mm: mm === 0n ? undefined : mm,
    };
  }

  private async processOf(address: bigint): Promise<number> {
    const known = this.processes.get(address);
    if (known !== undefined || address === 0n) return known ?? 0;
    const tgid = (await this.guest.read("task_struct", address, ["tgid"])).number("tgid");
    this.processes.set(address, tgid);
    return tgid;
  }

  private async ids(task: StructView) {
    const address = task.word("real_cred");
    if (address === 0n) return { uid: 0, gid: 0, effectiveUid: 0, effectiveGid: 0 };
    const names = ["uid", "gid", "euid", "egid"].map((name) => `${name}.val`);
    const view = await this.guest.read("cred", address, names);
    const [uid, gid, effectiveUid, effectiveGid] = names.map((name) => view.number(name));
    return { uid: uid!, gid: gid!, effectiveUid: effectiveUid!, effectiveGid: effectiveGid! };
  }
}

/** As the kernel's `task_state_index` and `get_task_state` have it. */
export function stateLetter(state: number, exitState: number): string {
  if ((state & idleBits) === idleBits) return idle;
  if (state & shownAsSleep && !((state | exitState) & reportedBits)) return uninterruptible;
  const shown = (state | exitState) & reportedBits;
  return stateLetters[32 - Math.clz32(shown)] ?? "?";
}
