import { chooseQemu } from "../../qemu/choose.js";
import { machineArguments } from "../../qemu/machine.js";
import type { Tape } from "../../tape/tape.js";

/**
 * The argument list, program first, that replays a tape without vmtape: the guest's console comes out on stdout, and
 * QEMU exits where the recording ended.
 *
 * @throws `wrong-qemu`, `missing-tool`
 */
export async function plainReplayCommand(tape: Tape, candidates?: readonly string[]): Promise<string[]> {
  const build = await chooseQemu(tape.manifest.qemu, candidates);
  const args = machineArguments(tape.machine, {
    mode: "replay",
    sandbox: build.sandbox,
    log: tape.layout.log,
    disks: "untouched",
    console: "stdio,signal=off",
  });
  return [build.path, ...args];
}
