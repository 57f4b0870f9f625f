import type { Tape } from "../../tape/tape.js";
import { grouped, size } from "../shell/output.js";

/** How a recording ended, for people. */
const causes: Record<string, string> = {
  "power-off": "the guest powered off",
  reboot: "the guest rebooted",
  panic: "the guest panicked",
  stopped: "stopped on request",
  timeout: "stopped at its timeout",
  "disk-full": "stopped: the disk was nearly full",
  repaired: "interrupted, then repaired",
  failed: "failed",
};

/** The facts of a finished tape: name, place, instructions, seconds, log and console. */
export function tapeFacts(tape: Tape): Record<string, string | undefined> {
  const { manifest } = tape;
  const { end } = manifest;
  return {
    tape: tape.name,
    place: tape.directory,
    state: tape.state,
    ended: end && causes[end.cause],
    instructions: end && grouped(end.icount),
    seconds: end?.seconds.toFixed(1),
    log: end && `${size(end.log.bytes)}, ${grouped(end.log.events)} events`,
    console: end && `${grouped(end.console.bytes)} bytes, SHA-256 ${end.console.sha256}`,
    proof: end && proofText(tape),
    witnesses: end && `${manifest.witnesses.length} states of the recording to compare replays with`,
    machine: `${manifest.machine.arch}, ${manifest.machine.memoryMB} MB, ${manifest.machine.cpu}, network ${manifest.machine.network}, ${manifest.machine.disks.length} disk(s)`,
    qemu: manifest.qemu.fullVersion,
  };
}

/** Whether the tape is proved, refuted or neither, for people. */
export function proofText({ manifest: { proof }, name }: Tape): string {
  if (!proof) return `not proved yet: vmtape verify ${name}`;
  const when = proof.when.slice(0, 16).replace("T", " ");
  if (proof.result === "refuted")
    return `refuted, ${when}: at icount ${grouped(proof.icount ?? 0)}: ${proof.what}`;
  const states = proof.witnesses === 0 ? "" : `, ${proof.witnesses} of them states of the recording`;
  return `proved, ${when}: two replays, equal in ${proof.branches ? "every branch and " : ""}all states${states}`;
}

/** The facts of a tape for `--json`. `replayCommand` is the argv of a plain QEMU, when its build was found. */
export function tapeJson(tape: Tape, replayCommand: readonly string[] | undefined) {
  const { manifest } = tape;
  const { end, machine } = manifest;
  return {
    name: tape.name,
    dir: tape.directory,
    id: manifest.id,
    state: tape.state,
    created: manifest.created,
    arch: machine.arch,
    memoryMB: machine.memoryMB,
    cpu: machine.cpu,
    append: machine.append,
    icount: end?.icount ?? null,
    seconds: end?.seconds ?? null,
    cause: end?.cause ?? null,
    log: { bytes: end?.log.bytes ?? null, events: end?.log.events ?? null, sha256: end?.log.sha256 ?? null },
    console: { bytes: end?.console.bytes ?? null, sha256: end?.console.sha256 ?? null },
    kernel: machine.kernel,
    initrd: machine.initrd ?? null,
    disks: machine.disks.map((disk) => ({ format: disk.format, ...disk.base })),
    network: machine.network,
    firmware: machine.firmware,
    symbols: manifest.symbols,
    witnesses: manifest.witnesses,
    proof: manifest.proof?.result ?? "not-proved",
    proofFacts: manifest.proof ?? null,
    qemu: manifest.qemu,
    replayCommand: replayCommand ?? null,
    ...(tape.state === "interrupted" && { mend: `vmtape repair ${tape.name}` }),
  };
}
