import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { inspectQemu, installQemu, type QemuBuild, qemuProgram } from "./build.js";

/** The build that recorded a tape, from its manifest. A path in it is never run: a manifest may be hostile. */
export interface RecordedBuild {
  readonly fullVersion: string;
  readonly sha256: string;
}

/**
 * Finds the installed QEMU that recorded a tape: the same program file, byte for byte.
 *
 * @param candidates programs to try, paths or names on PATH; default: the distribution's
 * @throws `missing-tool` when no candidate is installed; `wrong-qemu` when only other builds are
 */
export async function chooseQemu(
  recorded: RecordedBuild,
  candidates: readonly string[] = [qemuProgram],
): Promise<QemuBuild> {
  let other: QemuBuild | undefined;
  let absent: VmtapeError | undefined;
  for (const candidate of candidates) {
    try {
      const build = await inspectQemu(candidate);
      if (build.sha256 === recorded.sha256) return build;
      other ??= build;
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      absent ??= error;
    }
  }
  if (!other) throw absent ?? new VmtapeError("missing-tool", "QEMU is not installed", { mend: installQemu });
  const sameVersion = other.fullVersion === recorded.fullVersion;
  throw new VmtapeError(
    "wrong-qemu",
    sameVersion
      ? `the tape was recorded on another build of QEMU ${recorded.fullVersion} than ${other.path}`
      : `the tape was recorded on QEMU ${recorded.fullVersion}, but ${other.path} is ${other.fullVersion}`,
    {
      file: other.path,
      expected: sameVersion ? recorded.sha256 : recorded.fullVersion,
      got: sameVersion ? other.sha256 : other.fullVersion,
      mend: "vmtape replay --qemu PATH, with the QEMU that recorded",
    },
  );
}
