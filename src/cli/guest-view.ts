import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../base/errors.js";
import type { Icount } from "../base/units.js";
import type { LinuxGuest } from "../linux/linux-guest.js";
import type { WrittenPosition } from "../replay/position.js";
import type { Session } from "../replay/session.js";
import type { Tape } from "../tape/tape.js";
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
  const [{ parsePosition }, { Tape }, { loadLinuxKernel }, { LinuxGuest }, { StoppedSession }] =
    await Promise.all([
      import("../replay/position.js"),
      import("../tape/tape.js"),
      import("../linux/linux-kernel.js"),
      import("../linux/linux-guest.js"),
      import("../linux/stopped-session.js"),
    ]);
  const wanted = parsePosition(flags.at);
  const tape = await Tape.open(placesOf(flags), name, flags.dir);
  tape.requireComplete();
  using progress = new Progress();
  const icount = await icountOf(tape, wanted, flags, progress, signal);
  const arriving = sessionAt(tape, icount, flags, progress, signal);
  arriving.catch(() => {}); // it is awaited below
  const kernel = loadLinuxKernel(tape.layout.kernel);
  await using session = await arriving;
  progress[Symbol.dispose]();
  if (!kernel) {
    throw new VmtapeError("not-found", `the tape ${tape.name} holds no Linux kernel with symbols`, {
      file: tape.layout.kernel,
    });
  }
  await using stopped = await StoppedSession.of(session);
  if (!flags.json) note(`at @${icount}`);
  return await look({ guest: await LinuxGuest.at(stopped, kernel), position: { icount } });
}

/** The icount of a written position. */
export async function icountOf(
  tape: Tape,
  wanted: WrittenPosition,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Icount> {
  const [{ locate }, { buildPlugin }, { TapeIndex }, { tapeCache }] = await Promise.all([
    import("../replay/locate.js"),
    import("../qemu/plugin-build.js"),
    import("../replay/tape-index.js"),
    import("../replay/tape-cache.js"),
  ]);
  const places = placesOf(flags);
  const cache = tapeCache(places, tape);
  const shared = { qemu: qemuCandidates(flags), onProgress: progress.sink, ...debugSink(flags) };
  const isPlace = wanted.kind === "symbol" || wanted.kind === "address";
  const plugin = isPlace
    ? await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version })
    : "";
  const symbols =
    wanted.kind === "symbol"
      ? await import("../linux/tape-symbols.js").then(({ TapeSymbols }) =>
          TapeSymbols.load(tape, { cache, signal, ...shared }),
        )
      : undefined;
  const checkpoints = async () => (await TapeIndex.open(cache, tape.manifest.qemu)).checkpoints;
  const addressOf = symbols && { addressOf: (symbol: string) => symbols.addressOf(symbol) };
  return (await locate(tape, wanted, { plugin, checkpoints, ...addressOf, ...shared }, signal)).icount;
}

/** A session that stands at an icount, from the nearest checkpoint. */
async function sessionAt(
  tape: Tape,
  icount: Icount,
  flags: ViewFlags,
  progress: Progress,
  signal: AbortSignal,
): Promise<Session> {
  const [{ Session }, { TapeIndex }, { isLostCheckpoint }, { tapeCache }] = await Promise.all([
    import("../replay/session.js"),
    import("../replay/tape-index.js"),
    import("../replay/checkpoint.js"),
    import("../replay/tape-cache.js"),
  ]);
  const index = await TapeIndex.open(tapeCache(placesOf(flags), tape), tape.manifest.qemu);
  const from = index.nearest(icount);
  const options = { qemu: qemuCandidates(flags), onProgress: progress.sink, ...debugSink(flags) };
  const session = await Session.create(tape, { ...options, ...(from && { from }) }, signal);
  try {
    await session.start(icount, signal);
    return session;
  } catch (error) {
    await session.destroy();
    if (!from || !isLostCheckpoint(error)) throw error;
    const again = await Session.create(tape, { ...options, trusted: true }, signal);
    await again.start(icount, signal).catch(async (failure) => {
      await again.destroy();
      throw failure;
    });
    return again;
  }
}

/** A process id as an argument. */
export function pid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError("it must be a process id.");
  return Number(text);
}
