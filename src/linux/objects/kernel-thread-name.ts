import type { LinuxGuest } from "../guest/linux-guest.js";

/** `PF_WQ_WORKER`: it runs work queues. Source: include/linux/sched.h. */
const workerFlag = 0x20;
/** How workers that rescue a queue are named from 6.9 on: `kworker/R-` and the queue's name. */
const rescuerPrefix = "kworker/R-";
const longestName = 64;

/**
 * A kernel thread's name as /proc/PID/stat has it: the whole of one that does not fit into `comm` (from 5.17 on), and
 * what a worker of a work queue does (`kworker/0:1+events`) or did last (`kworker/0:1-events`). Source: `proc_task_name`,
 * `wq_worker_comm` and `get_kthread_comm` of Linux.
 */
export async function kernelThreadName(
  guest: LinuxGuest,
  task: bigint,
  comm: string,
  flags: number,
): Promise<string> {
  const kthread = await kthreadOf(guest, task);
  const type = guest.types.findStruct("kthread");
  if (kthread === 0n || !type) return comm;
  if (flags & workerFlag) {
    const data = type.findMember("data");
    const worker = data ? await guest.word(kthread + BigInt(data.byteOffset)) : 0n;
    return worker === 0n ? comm : workerName(guest, worker, comm);
  }
  const fullName = type.findMember("full_name");
  const pointer = fullName ? await guest.word(kthread + BigInt(fullName.byteOffset)) : 0n;
  return pointer === 0n ? comm : guest.text(pointer, longestName);
}

/** Up to 5.16 the pointer lies in a member that kernel threads have no other use for. */
async function kthreadOf(guest: LinuxGuest, task: bigint): Promise<bigint> {
  const has = guest.types.struct("task_struct").findMember("worker_private");
  const member = has ? "worker_private" : "set_child_tid";
  return (await guest.read("task_struct", task, [member])).word(member);
}

async function workerName(guest: LinuxGuest, address: bigint, comm: string): Promise<string> {
  if (!guest.types.findStruct("worker")) return comm;
  const worker = await guest.read("worker", address, ["pool", "current_work", "desc", "rescue_wq"]);
  const queue = worker.word("rescue_wq");
  const name =
    queue !== 0n && comm.startsWith(rescuerPrefix)
      ? rescuerPrefix + (await guest.read("workqueue_struct", queue, ["name"])).text("name")
      : comm;
  const does = worker.text("desc");
  if (worker.word("pool") === 0n || does === "") return name;
  return name + (worker.word("current_work") === 0n ? "-" : "+") + does;
}
