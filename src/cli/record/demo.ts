import { Command } from "commander";
import pc from "picocolors";
import { VmtapeError } from "../../base/errors.js";
import { placesOf, qemuOption, type TapeOptions } from "../shell/options.js";
import { note, say, sayFacts, sayStyled } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";
import { tapeFacts } from "./describe-tape.js";
import { recordOptions } from "./record.js";

const tapeName = "demo";

export function demoCommand(): Command {
  return new Command("demo")
    .description(
      "record a stock Debian kernel, prove that the replay is the same run, and trace one of its system calls",
    )
    .option("--home <directory>", "where tapes live")
    .option(...qemuOption)
    .action(action(run));
}

async function run(context: CommandContext, options: TapeOptions): Promise<void> {
  const { record } = await import("../../tape/recording.js");
  const { signal } = context;
  using progress = new Progress();
  heading("Recording a stock Debian kernel: boot, some work, power-off");
  const wanted = await recordOptions(tapeName, { ...options, net: "none", force: true }, signal, progress);
  progress[Symbol.dispose]();
  const recording = await record(placesOf(options), wanted, {
    signal,
    onConsole: (bytes) => process.stdout.write(bytes),
    onNotice: note,
  });
  const tape = await recording.done;
  if (signal.aborted)
    throw new VmtapeError(
      "cancelled",
      `stopped on request; the tape '${tapeName}' is complete to that point`,
    );
  say();
  sayFacts(tapeFacts(tape));

  heading("Replaying it twice, and comparing everything");
  const { verifyTape } = await import("../../replay/verify/verify.js");
  const { branchPlugin, markTape, sayVerifyReport } = await import("../replay/verify.js");
  const plugin = await branchPlugin(tape, options);
  const report = await verifyTape(tape, {
    ...(plugin !== undefined && { plugin }),
    qemu: [wanted.qemu.path],
    onProgress: progress.sink,
    signal,
  });
  progress[Symbol.dispose]();
  await sayVerifyReport(await markTape(tape, report), report);
  process.exitCode = report.ok ? 0 : 1;
  if (plugin !== undefined) {
    heading("Tracing a system call of the booting guest: every branch, with names");
    const { traceSystemCall } = await import("./demo-trace.js");
    await traceSystemCall(placesOf(options), tape, { plugin, qemu: [wanted.qemu.path], signal }, progress);
  }
  say();
  sayStyled(
    `The tape stays. Go on with ${pc.bold(`./vmtape info ${tapeName}`)}, ${pc.bold(`./vmtape replay -c ${tapeName}`)}, ${pc.bold(`./vmtape log --summary ${tapeName}`)}`,
  );
}

function heading(text: string): void {
  say();
  sayStyled(pc.bold(pc.cyan(`▸ ${text}`)));
  say();
}
