import type { Command } from "commander";
import pc from "picocolors";
import { isVmtapeError } from "../../base/errors.js";
import type { VerifyReport } from "../../replay/verify/verify.js";
import type { Tape } from "../../tape/tape.js";
import { exitCodes } from "../shell/failure.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, say, sayFacts, sayStyled, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action } from "../shell/run.js";

export function verifyCommand(): Command {
  return tapeCommand("verify", "replay a tape to its end, twice, and prove that it is the same run")
    .option(...qemuOption)
    .option("-r, --repair", "repair an interrupted tape first")
    .option("-d, --debug", "print what is done")
    .action(
      action(async ({ signal }, name: string, options: TapeOptions & { repair?: boolean }) => {
        const { openForReplay } = await import("../open/open-for-replay.js");
        const opened = await openForReplay(placesOf(options), name, options, signal);
        const { tape, report } = await proveTape(opened, options, signal);
        process.exitCode = report.ok ? 0 : exitCodes.no;
        if (options.json) return say(toJson(report));
        await sayVerifyReport(tape, report);
      }),
    );
}

/** Verifies a tape, shows the progress, and keeps the result in the tape. */
export async function proveTape(
  tape: Tape,
  options: TapeOptions,
  signal: AbortSignal,
): Promise<{ readonly tape: Tape; readonly report: VerifyReport }> {
  const { verifyTape } = await import("../../replay/verify/verify.js");
  using progress = new Progress();
  const plugin = await branchPlugin(tape, options);
  const report = await verifyTape(tape, {
    plugin,
    ...contextFor(options, signal, progress),
  });
  return { tape: await markTape(tape, report), report };
}

/** Keeps the result in the tape, unless one of its files is damaged. Returns the tape as it is then. */
export async function markTape(tape: Tape, report: VerifyReport): Promise<Tape> {
  if (report.divergence?.damage) return tape;
  const { keepProof, proofOf } = await import("../../replay/verify/proof.js");
  return keepProof(tape, proofOf(report, new Date()));
}

/**
 * The built branch plugin; undefined without a compiler. `verify` then does not compare branches, and prints a note.
 */
export async function branchPlugin(tape: Tape, options: TapeOptions): Promise<string | undefined> {
  const { buildPlugin } = await import("../../qemu/plugin-build.js");
  try {
    return await buildPlugin({ cacheDir: placesOf(options).cache, qemuVersion: tape.manifest.qemu.version });
  } catch (error) {
    if (!isVmtapeError(error, "missing-tool")) throw error;
    note(`branches are not compared: ${error.message} (${error.facts.mend})`);
    return undefined;
  }
}

/** Prints the result of `verify`, for people. */
export async function sayVerifyReport(tape: Tape, report: VerifyReport): Promise<void> {
  const { likelyCause } = await import("../../replay/verify/proof.js");
  const { divergence } = report;
  const { name } = tape;
  sayStyled(
    report.ok
      ? pc.green(`${name}: every replay is the recorded run`)
      : pc.red(`${name}: the replay parted from the tape`),
  );
  sayFacts({
    where: divergence && `icount ${grouped(divergence.icount)}`,
    what: divergence?.what,
    expected: divergence?.expected,
    got: divergence?.got,
    cause: divergence && !divergence.damage ? likelyCause(tape, divergence.icount) : undefined,
    icount: grouped(report.icount),
    console: `${grouped(report.console.bytes)} bytes, SHA-256 ${report.console.sha256}`,
    branches: report.branches && `${grouped(report.branches.records)}, SHA-256 ${report.branches.sha256}`,
    shutdown: report.cause,
    seconds: report.seconds.toFixed(1),
  });
  for (const { icount, registers, memory, recorded } of report.states) {
    const equal = `= both replays${recorded ? " = recording" : ""}`;
    sayStyled(
      `  @${String(icount).padEnd(12)} registers ${registers.slice(0, 16)}… memory ${memory.slice(0, 16)}… ${pc.green(equal)}`,
    );
  }
}
