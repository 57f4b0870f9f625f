import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { imageNode, stateNode } from "./machine.js";
import type { Qmp } from "./qmp.js";

/** The only tag used: each checkpoint has files of its own. */
const tag = "checkpoint";
/**
 * For so many times a job's state is asked for without a pause, which wakes QEMU's main loop, in which the job runs;
 * after that every `lookMs`.
 */
const eagerLooks = 50;
const lookMs = 2;
/** A job that takes longer counts as hung; snapshots take well under a second. */
const patienceMs = 60_000;

/**
 * Leaves shared RAM out of snapshots: it is kept as a file of its own, which another QEMU maps without reading
 * it. QEMU 7.2 does so for all shared RAM; from 8.1 on only for RAM in a named file.
 */
export async function leaveRamOut(qmp: Qmp): Promise<void> {
  await qmp.execute("migrate-set-capabilities", {
    capabilities: [{ capability: "x-ignore-shared", state: true }],
  });
}

/**
 * Writes the devices' state, and a snapshot of each disk, into their images. The machine must be stopped.
 *
 * @throws `qemu-failed` with QEMU's reason; see {@link isTooEarly}
 */
export function saveSnapshot(qmp: Qmp, disks: number): Promise<void> {
  return runJob(qmp, "snapshot-save", { tag, vmstate: stateNode, devices: nodes(disks) });
}

/**
 * Brings back the devices' state that {@link saveSnapshot} wrote. The disks' images must be those of that instant
 * already. The machine must be stopped.
 */
export function loadSnapshot(qmp: Qmp): Promise<void> {
  return runJob(qmp, "snapshot-load", { tag, vmstate: stateNode, devices: nodes(0) });
}

/** Removes the snapshot from the images, so that another can be taken. */
export function deleteSnapshot(qmp: Qmp, disks: number): Promise<void> {
  return runJob(qmp, "snapshot-delete", { tag, devices: nodes(disks) });
}

function nodes(disks: number): string[] {
  return [stateNode, ...Array.from({ length: disks }, (_, i) => imageNode(i))];
}

/** Source: QEMU, migration/savevm.c. */
const laterText = /does not allow making snapshot right now/;

/**
 * Did a snapshot fail because a disk's answer or a packet is on its way? (It has arrived, but its event comes later
 * in the log.) Some instructions later a snapshot can be taken.
 */
export function isTooEarly(error: unknown): boolean {
  return isVmtapeError(error, "qemu-failed") && error.facts.later === true;
}

/**
 * The error for packets that wait until the guest has buffers for them, which a snapshot would lose. {@link
 * isTooEarly} is true for it.
 */
export function tooEarly(): VmtapeError {
  return new VmtapeError("qemu-failed", "packets are on their way to the guest: no snapshot has them", {
    later: true,
  });
}

interface Job {
  readonly id: string;
  readonly status: string;
  readonly error?: string;
}

/** Source: QEMU, qapi/job.json. */
async function runJob(qmp: Qmp, command: string, args: Readonly<Record<string, unknown>>): Promise<void> {
  const id = `vmtape-${command}`;
  const begun = qmp.execute(command, { "job-id": id, ...args });
  begun.catch(() => {}); // its error is thrown below
  const deadline = performance.now() + patienceMs;
  for (let look = 0; ; look++) {
    const asked = qmp.execute("query-jobs") as Promise<Job[]>;
    asked.catch(() => {});
    await begun;
    const job = (await asked).find((one) => one.id === id);
    if (!job || job.status === "concluded") {
      if (job) void qmp.execute("job-dismiss", { id }).catch(() => {}); // answers come in order
      if (job?.error) {
        const later = laterText.test(job.error);
        throw new VmtapeError("qemu-failed", `QEMU's ${command} failed: ${job.error}`, {
          got: job.error,
          later,
        });
      }
      return;
    }
    if (performance.now() > deadline) throw new VmtapeError("qemu-hung", `QEMU's ${command} does not end`);
    if (look > eagerLooks) await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
