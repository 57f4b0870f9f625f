import { VmtapeError } from "../../base/errors.js";
import { listNodes } from "../guest/kernel-list.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { type Task, TaskReader } from "./task.js";

/** Linux gives out no more pids (PID_MAX_LIMIT is 4 Mi); nobody's guest of one CPU has so many tasks. */
const mostTasks = 1 << 17;

/**
 * All tasks of an instant: the idle task (pid 0) first, then each process in the order they were started, its threads
 * after it.
 *
 * Cost: 5 to 8 reads of memory a task; 20 ms for 100.
 *
 * @throws VmtapeError `not-found` without BTF, `bad-memory` when the lists are broken
 */
export async function readTasks(guest: LinuxGuest): Promise<Task[]> {
  const tasks: Task[] = [];
  for await (const address of taskAddresses(guest, mostTasks)) {
    tasks.push(await readerOf(guest).at(address));
  }
  return tasks;
}

/**
 * A task by its pid (a thread's, too).
 *
 * @throws VmtapeError `not-found` when no task has it at this instant; as `readTasks`
 */
export async function taskByPid(guest: LinuxGuest, pid: number): Promise<Task> {
  const names = ["pid"];
  for await (const address of taskAddresses(guest, mostTasks)) {
    if ((await guest.read("task_struct", address, names)).number("pid") === pid) {
      return readerOf(guest).at(address);
    }
  }
  throw new VmtapeError("not-found", `no task has the pid ${pid} at this instant`, { got: String(pid) });
}

async function* taskAddresses(guest: LinuxGuest, most: number): AsyncGenerator<bigint> {
  const first = guest.address("init_task");
  yield first;
  const struct = guest.types.struct("task_struct");
  const toProcess = BigInt(struct.member("tasks").byteOffset);
  const toThread = BigInt(struct.member("thread_node").byteOffset);
  const toThreads = BigInt(guest.types.struct("signal_struct").member("thread_head").byteOffset);
  let count = 1;
  for await (const node of listNodes(guest, first + toProcess, "the list of processes", most)) {
    const leader = node - toProcess;
    yield leader;
    const signal = (await guest.read("task_struct", leader, ["signal"])).word("signal");
    if (signal === 0n) continue;
    for await (const thread of listNodes(guest, signal + toThreads, "a list of threads", most)) {
      if (thread - toThread !== leader) yield thread - toThread;
      if (++count > most) {
        throw new VmtapeError("bad-memory", `the lists of tasks have more than ${most} entries`);
      }
    }
  }
}

const readers = new WeakMap<LinuxGuest, TaskReader>();

function readerOf(guest: LinuxGuest): TaskReader {
  let reader = readers.get(guest);
  if (!reader) {
    reader = new TaskReader(guest);
    readers.set(guest, reader);
  }
  return reader;
}

/** The task whose `task_struct` is at an address. @throws as `readTasks` */
export function taskAt(guest: LinuxGuest, address: bigint): Promise<Task> {
  return readerOf(guest).at(address);
}
