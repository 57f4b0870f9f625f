import type { Command } from "commander";
import { linkedAbort, untilAborted } from "../../base/stopping.js";
import type { Session } from "../../replay/session/session.js";
import type { Tape } from "../../tape/tape.js";
import { beginning, isInBackground, reportStarted, startInBackground } from "../shell/background.js";
import { contextFor, placesOf, qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, say, sayFacts, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";

interface ReplayFlags extends TapeOptions {
  readonly paused?: boolean;
  readonly console?: boolean;
  readonly kill?: boolean;
  readonly background?: boolean;
  readonly hold?: boolean;
  readonly repair?: boolean;
  readonly gdb?: string;
}

export function replayCommand(): Command {
  return tapeCommand("replay", "replay a tape; QMP and gdb can attach")
    .option("-p, --paused", "wait before the first instruction until somebody attached says continue")
    .option("-c, --console", "print what the machine printed")
    .option("-K, --kill", "end the replays of this tape; the tape stays")
    .option("--background", "return as soon as the machine is there")
    .option("--hold", "stay at the end, the machine readable, until Ctrl-C or -K")
    .option("-r, --repair", "repair an interrupted tape first")
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(context: CommandContext, name: string, flags: ReplayFlags): Promise<void> {
  if (flags.kill) return kill(name, flags);
  if (flags.background && !isInBackground()) return printBackground(name, flags, context.signal);
  const tape = await beginning(openTape(name, flags, context.signal));
  await replay(context, tape, flags);
}

async function openTape(name: string, flags: ReplayFlags, signal: AbortSignal): Promise<Tape> {
  const { openForReplay } = await import("../open/open-for-replay.js");
  return openForReplay(placesOf(flags), name, flags, signal);
}

async function replay({ signal }: CommandContext, tape: Tape, flags: ReplayFlags): Promise<void> {
  const [{ Session }, { guardFor, tapeCache }, { quote }, { ReplayServer }, { isVmtapeError }] =
    await Promise.all([
      import("../../replay/session/session.js"),
      import("../../replay/session/tape-cache.js"),
      import("../../qemu/machine.js"),
      import("../../replay/session/replay-server.js"),
      import("../../base/errors.js"),
    ]);
  using stop = linkedAbort(signal);
  await using server = await beginning(
    ReplayServer.listen(placesOf(flags), tape.directory, () => stop.abort()),
  );
  const { qmp, gdb } = server.sockets;
  using progress = new Progress();
  const guard = await guardFor(tape, tapeCache(placesOf(flags), tape));
  await using session = await beginning(
    Session.create(tape, {
      ...contextFor(flags, stop.signal, flags.console || isInBackground() ? undefined : progress),
      ...guard,
      attach: {
        monitors: [`socket,path=${quote(qmp)},server=on,wait=off`],
        gdb: `unix:${quote(gdb)},server=on,wait=off`,
      },
      onConsole: flags.console ? (bytes) => process.stdout.write(bytes) : undefined,
    }),
  );
  await beginning(session.start(undefined, stop.signal));
  if (isInBackground()) reportStarted({ qmp, gdb, qemuPid: session.pid });
  else {
    note(`QMP: ${qmp}`);
    note(`gdb: target remote ${gdb}`);
  }
  if (!flags.paused) await session.resume();
  try {
    await session.follow(stop.signal);
    progress[Symbol.dispose]();
    await printEnd(session, flags);
    if (flags.hold) await untilAborted(stop.signal);
  } catch (error) {
    // A replay that another command ended by -K has not failed. One ended by Ctrl-C was interrupted.
    if (!isVmtapeError(error, "cancelled") || signal.aborted) throw error;
    note("ended on request");
  }
}

async function printEnd(session: Session, flags: ReplayFlags): Promise<void> {
  const { tape } = session;
  const facts = {
    name: tape.name,
    state: session.state,
    icount: await session.position(),
    cause: session.shutdownReason,
  };
  if (flags.json) return say(toJson(facts));
  if (isInBackground()) return;
  note(`replayed ${tape.name} to its end at icount ${grouped(facts.icount)} (${facts.cause})`);
}

async function printBackground(name: string, flags: ReplayFlags, signal: AbortSignal): Promise<void> {
  const { pid, facts } = await startInBackground(signal);
  if (flags.json) return say(toJson({ name, pid, ...facts }));
  sayFacts({
    tape: name,
    state: flags.paused ? "paused" : "running",
    QMP: String(facts.qmp),
    gdb: `target remote ${facts.gdb}`,
    end: `vmtape replay -K ${name}`,
  });
}

async function kill(name: string, flags: ReplayFlags): Promise<void> {
  const [{ tapeDirectory }, { Tape }, { endReplays }] = await Promise.all([
    import("../../tape/home.js"),
    import("../../tape/tape.js"),
    import("../../replay/session/replay-server.js"),
  ]);
  const places = placesOf(flags);
  const ended = await endReplays(places, tapeDirectory(places, name, flags.dir));
  if (ended === 0) await Tape.open(places, name, flags.dir); // throws when there is no such tape
  if (flags.json) say(toJson({ name, ended }));
  else
    note(
      ended === 0 ? `no replay of ${name} runs` : `ended ${ended} replay${ended === 1 ? "" : "s"} of ${name}`,
    );
}
