import { join } from "node:path";
import { runTool } from "../../src/base/tool.js";
import type { Guest } from "./build.js";

/**
 * Records a tiny guest with a plain QEMU, without the product, and returns the command that replays it. A guest takes
 * well under a second.
 */
export async function recordGuest(
  guest: Guest,
  directory: string,
  qemu = "qemu-system-x86_64",
): Promise<string[]> {
  const command = (mode: string) => {
    const log = join(directory, `${guest.name}.log`).replaceAll(",", ",,");
    const machine = ["-nodefaults", "-no-user-config", "-machine", "pc", "-accel", "tcg", "-cpu", "max"];
    machine.push("-m", "64", "-display", "none", "-nic", "none", "-no-reboot", "-global", "apic.vapic=off");
    machine.push(
      "-icount",
      `shift=auto,rr=${mode},rrfile=${log}`,
      "-serial",
      "null",
      "-kernel",
      guest.kernel,
    );
    return machine;
  };
  await runTool("timeout", ["60", qemu, ...command("record")]);
  return [qemu, ...command("replay")];
}
