import type { Command } from "commander";
import pc from "picocolors";
import type { VerifyReport } from "../replay/verify.js";
import { debugSink, placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "./options.js";
import { grouped, say, sayFacts, toJson } from "./output.js";
import { Progress } from "./progress.js";
import { action } from "./run.js";

export function verifyCommand(): Command {
  return tapeCommand("verify", "replay a tape to its end, twice, and prove that it is the same run")
    .option(...qemuOption)
    .option("-r, --repair", "repair an interrupted tape first")
    .option("-d, --debug", "print what is done")
    .action(
      action(async ({ signal }, name: string, options: TapeOptions & { repair?: boolean }) => {
        const [{ verifyTape }, { openForReplay }] = await Promise.all([
          import("../replay/verify.js"),
          import("./open-for-replay.js"),
        ]);
        const tape = await openForReplay(placesOf(options), name, options, signal);
        using progress = new Progress();
        const report = await verifyTape(tape, {
          qemu: qemuCandidates(options),
          onProgress: progress.sink,
          signal,
          ...debugSink(options),
        });
        progress[Symbol.dispose]();
        process.exitCode = report.ok ? 0 : 1;
        if (options.json) return say(toJson(report));
        sayVerifyReport(name, report);
      }),
    );
}

/** Prints what `verify` found, for people. */
export function sayVerifyReport(name: string, report: VerifyReport): void {
  const { divergence } = report;
  say(
    report.ok
      ? pc.green(`${name}: every replay is the recorded run`)
      : pc.red(`${name}: the replay parted from the tape`),
  );
  sayFacts({
    where: divergence && `icount ${grouped(divergence.icount)}`,
    what: divergence?.what,
    expected: divergence?.expected,
    got: divergence?.got,
    icount: grouped(report.icount),
    console: `${grouped(report.console.bytes)} bytes, SHA-256 ${report.console.sha256}`,
    shutdown: report.cause,
    seconds: report.seconds.toFixed(1),
  });
  for (const { icount, registers, memory, recorded } of report.states) {
    const equal = `= both replays${recorded ? " = recording" : ""}`;
    say(
      `  @${String(icount).padEnd(12)} registers ${registers.slice(0, 16)}… memory ${memory.slice(0, 16)}… ${pc.green(equal)}`,
    );
  }
}
