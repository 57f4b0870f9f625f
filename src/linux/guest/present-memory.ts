import type { GuestMemory } from "../../base/guest-memory.js";
import { firstKernelAddress } from "../../base/units.js";
import type { LinuxGuest } from "./linux-guest.js";
import { walkedMemory } from "./page-tables.js";

/**
 * Memory as it is mapped where the machine stands: user space by CR3, the kernel by its own page table, which has all
 * of it even while a user program runs with page-table isolation.
 */
export function presentMemory(guest: LinuxGuest): GuestMemory {
  const root = guest.stopped.register("cr3");
  if (root === undefined) return guest.memory;
  const user = walkedMemory(guest.stopped.physical, root, guest.memory.levels);
  return {
    read: (address, length) =>
      address >= firstKernelAddress ? guest.memory.read(address, length) : user.read(address, length),
  };
}
