import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../base/errors.js";
import type { Icount } from "../base/units.js";
import type { LinuxGuest } from "../linux/linux-guest.js";
import { debugSink, placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "./options.js";
import { note } from "./output.js";
import { Progress } from "./progress.js";
import type { CommandContext } from "./run.js";

export interface ViewFlags extends TapeOptions {
  readonly at: string;
}

/** A command that looks at a tape's guest as it stands at one instant. */
export function viewCommand(name: string, description: string): Command {
  return tapeCommand(name, description)
    .option("--at <position>", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]", "end")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done");
}

/** The guest's Linux at an instant, and which it is. */
export interface GuestView {
  readonly guest: LinuxGuest;
  readonly position: { readonly icount: Icount };
}

/**
 * Goes to the wanted instant and looks.
 *
 * @throws VmtapeError `not-found` when no Linux runs there; everything that going there throws
 */
export async function atGuest<T>(
  { signal }: CommandContext,
  name: string,
  flags: ViewFlags,
  look: (view: GuestView) => Promise<T>,
): Promise<T> {
  const [{ parsePosition }, { Tape }, { Session }, { loadLinuxKernel }, { LinuxGuest }, { StoppedSession }] =
    await Promise.all([
      import("../replay/position.js"),
      import("../tape/tape.js"),
      import("../replay/session.js"),
      import("../linux/linux-kernel.js"),
      import("../linux/linux-guest.js"),
      import("../linux/stopped-session.js"),
    ]);
  const wanted = parsePosition(flags.at);
  const tape = await Tape.open(placesOf(flags), name, flags.dir);
  tape.requireComplete();
  using progress = new Progress();
  await using session = await Session.create(
    tape,
    { qemu: qemuCandidates(flags), onProgress: progress.sink, ...debugSink(flags) },
    signal,
  );
  await session.start(undefined, signal);
  const running = session.runTo(wanted.kind === "icount" ? wanted.icount : tape.end.at, signal);
  const kernel = loadLinuxKernel(tape.layout.kernel);
  await running;
  progress[Symbol.dispose]();
  if (!kernel) {
    throw new VmtapeError("not-found", `${tape.name} holds no Linux kernel with symbols`, {
      file: tape.layout.kernel,
    });
  }
  await using stopped = await StoppedSession.of(session);
  const icount = await session.position();
  if (!flags.json) note(`at @${icount}`);
  return await look({ guest: await LinuxGuest.at(stopped, kernel), position: { icount } });
}

/** A process id as an argument. */
export function pid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError("it must be a process id.");
  return Number(text);
}
