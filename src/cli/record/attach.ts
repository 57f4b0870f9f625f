import type { Command } from "commander";
import { VmtapeError } from "../../base/errors.js";
import { exitCodes, interruptedExitCode } from "../shell/failure.js";
import { placesOf, seconds, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note } from "../shell/output.js";
import { action, type CommandContext } from "../shell/run.js";

interface AttachFlags extends TapeOptions {
  readonly watch?: boolean;
  readonly take?: boolean;
  readonly quiet: number;
}

export function attachCommand(): Command {
  return tapeCommand("attach", "join the console of a running recording: type, or watch")
    .option("--watch", "only watch, never type")
    .option("--take", "take the keyboard, when somebody else has it")
    .option(
      "--quiet <seconds>",
      "input from a pipe or file has ended: leave when the guest has printed nothing for so long",
      seconds,
      1,
    )
    .addHelpText(
      "after",
      `
Any number may join. One of them has the keyboard: the first who joins without --watch. When he leaves it is free,
and the next who types has it. Everybody is told who has it.

On a terminal, Ctrl-] and then
  d       detaches: the recording goes on, and what was typed before is still typed
  q       stops the recording
  t       takes the keyboard, whoever has it
  x       forgets what waits to be typed
  Ctrl-]  types Ctrl-]

Without a terminal, stdin is typed and what the guest prints meanwhile goes to stdout:
  printf 'uname -a\\n' | vmtape attach NAME`,
    )
    .action(action(run));
}

async function run({ signal }: CommandContext, name: string, flags: AttachFlags): Promise<void> {
  if (flags.watch && flags.take) throw new VmtapeError("usage", "--watch and --take exclude each other");
  const [{ Tape }, { ControlClient }, { attachConsole }, { tapeFacts }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../tape/control.js"),
    import("./attach-console.js"),
    import("./describe-tape.js"),
  ]);
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  if (tape.state !== "recording") {
    throw new VmtapeError("tape-idle", `tape '${name}' is not being recorded (it is ${tape.state})`, {
      mend:
        tape.state === "complete" ? `vmtape console ${name} shows what it printed` : `vmtape repair ${name}`,
    });
  }
  const client = await ControlClient.connect(places, tape.directory);
  if (!client) {
    throw new VmtapeError(
      "tape-busy",
      `the recording of tape '${name}' cannot be reached: it may belong to another user or runtime directory`,
    );
  }
  const left = await attachConsole(client, {
    name,
    role: flags.watch ? "watch" : "type",
    take: flags.take === true,
    signal,
    quietSeconds: flags.quiet,
    stop: async () => (await ControlClient.connect(places, tape.directory))?.stop(),
  });
  if (signal.aborted) process.exitCode = interruptedExitCode;
  if (left === "detached") return;
  const ended = await Tape.open(places, name, flags.dir);
  const { ended: cause } = ended.state === "complete" ? tapeFacts(ended) : {};
  note(`\nthe recording of ${name} has ended${cause === undefined ? "" : `: ${cause}`}`);
  if (ended.state === "interrupted") process.exitCode = exitCodes.machine;
}
