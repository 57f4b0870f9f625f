import { physicalAddress } from "../../base/units.js";
import { ramEnd } from "../../qemu/machine-memory.js";
import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import type { Timeline } from "../../replay/timeline/timeline.js";
import type { StoppedGuest } from "./stopped-guest.js";

/** The machine as it is where a timeline stands now. */
export async function stoppedTimeline(timeline: Timeline): Promise<StoppedGuest> {
  const registers = await timeline.registers();
  return {
    physical: {
      size: ramEnd(timeline.tape.machine.memoryMB * 2 ** 20),
      async read(address, length) {
        const bytes = await timeline.readPhysical(physicalAddress(address), length);
        return bytes?.length === length ? bytes : undefined;
      },
    },
    register: (name) => (x86Register(name) ? registerValue(registers, name) : undefined),
  };
}
