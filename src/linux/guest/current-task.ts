import type { LinuxGuest } from "./linux-guest.js";

/**
 * The address of the `task_struct` of the task that runs: the kernel's own variable, which changes in `__switch_to`,
 * a few instructions after the stack has. In an interrupt it is the task that was interrupted.
 *
 * The per-CPU area is found by `__per_cpu_offset[0]`, as a tape has one CPU. The kernel's GS base has the same value,
 * but it is in GS only after the `swapgs` of an entry, else in KERNEL_GS_BASE, and a user program chooses the other;
 * memory has it at every instant, before the first `swapgs` of the boot too.
 *
 * @throws VmtapeError `not-found` when the kernel has no such variable, `not-mapped`
 */
export async function currentTask(guest: LinuxGuest): Promise<bigint> {
  return guest.word(await perCpu(guest, currentVariable(guest)));
}

/** Where the one CPU's copy of a per-CPU variable is. */
export async function perCpu(guest: LinuxGuest, offset: bigint): Promise<bigint> {
  const table = guest.findAddress("__per_cpu_offset");
  // Without CONFIG_SMP there are no copies, and variables are where their symbols say.
  return table === undefined ? offset : BigInt.asUintN(64, (await guest.word(table)) + offset);
}

/** From 6.2 to 6.14 the pointer is a member of a structure that keeps the hottest variables in one cache line. */
function currentVariable(guest: LinuxGuest): bigint {
  const hot = guest.findAddress("pcpu_hot");
  if (hot === undefined) return guest.address("current_task");
  // It comes first, so that it is known without BTF.
  const place = guest.kernel.types?.findStruct("pcpu_hot")?.findMember("current_task");
  return hot + BigInt(place?.byteOffset ?? 0);
}
