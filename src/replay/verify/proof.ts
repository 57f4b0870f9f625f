import { isVmtapeError } from "../../base/errors.js";
import { icount } from "../../base/units.js";
import type { Proof } from "../../formats/manifest.js";
import { FileLock } from "../../tape/lock.js";
import { Tape, writeManifest } from "../../tape/tape.js";
import type { VerifyReport } from "./verify.js";

const longestText = 1000;

/** A report of `verifyTape` in the form in which the manifest keeps it. */
export function proofOf(report: VerifyReport, when: Date): Proof {
  const { divergence } = report;
  return {
    result: report.ok ? "proved" : "refuted",
    when: when.toISOString(),
    witnesses: report.states.filter(({ recorded }) => recorded).length,
    branches: report.branches !== undefined,
    ...(divergence && { icount: Number(divergence.icount), what: printable(divergence.what) }),
  };
}

/**
 * Marks a tape as proved or refuted in its manifest. A tape that cannot be written, or that is changed meanwhile,
 * stays as it is.
 *
 * @returns the tape with its new manifest, or the old one where it stayed as it is
 */
export async function keepProof(tape: Tape, proof: Proof): Promise<Tape> {
  try {
    await using _lock = await FileLock.take(tape.layout.lock, `tape '${tape.name}' is in use`);
    const now = await Tape.openDirectory(tape.directory, tape.name);
    if (now.manifest.id !== tape.manifest.id || now.end.log.sha256 !== tape.end.log.sha256) return now;
    const manifest = { ...now.manifest, proof };
    await writeManifest(tape.layout, manifest);
    return new Tape(tape.directory, manifest, "complete", tape.name);
  } catch (error) {
    const kept = ["tape-busy", "not-writable", "disk-full", "bad-file"] as const;
    if (kept.some((code) => isVmtapeError(error, code))) return tape;
    throw error;
  }
}

/**
 * What may have made a replay diverge from this tape at an icount, in words for people; says so when no cause is
 * known.
 */
export function likelyCause(tape: Tape, at: bigint | undefined): string {
  const { version, machine, qemu, witnesses } = tape.manifest;
  const major = Number(qemu.version.split(".")[0]);
  if (machine.network === "user" && machine.networkSends === undefined && major < 9) {
    return `an older vmtape recorded it with a network card that sends at instants which QEMU ${qemu.version} does not log: no such tape replays`;
  }
  const paused = version === 1 && witnesses.some((one) => at !== undefined && icount(one.icount) <= at);
  if (paused) return "an older vmtape paused the machine while it recorded, which can change its run";
  return "not known: a fault of QEMU's record/replay or of vmtape; the files of the tape are as they were recorded";
}

const printable = (text: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
  text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?").slice(0, longestText);
