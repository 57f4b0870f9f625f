import { constants } from "node:fs";
import { copyFile, link, lstat, mkdir, open, rename, rm, stat, truncate } from "node:fs/promises";
import { basename, join } from "node:path";
import { openFileSource } from "../base/byte-source.js";
import { errnoOf, fileError, isVmtapeError, VmtapeError } from "../base/errors.js";
import { noLinks } from "../base/regular-file.js";
import type { RunContext } from "../base/run-context.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";
import type { Manifest } from "../formats/manifest.js";
import { dialectFor } from "../formats/replay-log-dialect.js";
import { planRepair, repairedTail, repairHeader } from "../formats/replay-log-repair.js";
import { chooseQemu } from "../qemu/choose.js";
import { machineArguments, quote } from "../qemu/machine.js";
import { QemuProcess } from "../qemu/process.js";
import { removeDeadSocket } from "./control.js";
import type { TapeLayout } from "./layout.js";
import { FileLock } from "./lock.js";
import { sealLog } from "./seal.js";
import { describeFile, writeAll } from "./store.js";
import { Tape, writeManifest } from "./tape.js";

/**
 * `qemu`: the programs among which the one that recorded is looked for, when the console must be printed again.
 * `places`: for the socket that a killed recorder may have left.
 */
export type RepairOptions = Pick<RunContext, "qemu" | "signal" | "places">;

/**
 * Completes an interrupted tape: cuts its log to the part that replays, and its console to what was printed by then.
 * The old files are kept in `original/`. A complete tape is returned as it is.
 *
 * @throws `tape-busy`, `no-such-tape`, `bad-log` (not a log), `tape-unfinished` (nothing was recorded), `disk-full`
 */
export async function repairTape(directory: string, options: RepairOptions = {}): Promise<Tape> {
  const before = await Tape.openDirectory(directory);
  if (before.state === "complete") return before;
  const { layout } = before;
  await using _lock = await FileLock.take(layout.lock, `tape '${before.name}' is being recorded`);
  if (options.places) await removeDeadSocket(options.places, directory);
  const { manifest } = await Tape.openDirectory(directory); // another process may have completed it meanwhile
  if (manifest.end) return new Tape(directory, manifest, "complete");
  const log = `${layout.log}.new`;
  try {
    const consoleBytes = await writeRepairedLog(layout, manifest, log, options.signal);
    const seconds = await secondsRecorded(layout, manifest);
    const sealed = await sealLog(log, dialectFor(manifest.qemu.version));
    await keepOriginal(layout, layout.log);
    await keepOriginal(layout, layout.console);
    await rename(log, layout.log);
    await cutConsole(before, consoleBytes, options);
    const end = {
      cause: "repaired" as const,
      icount: Number(sealed.end),
      seconds,
      log: { ...(await describeFile(layout.log)), events: sealed.events },
      console: await describeFile(layout.console),
    };
    const witnesses = manifest.witnesses.filter((witness) => witness.icount <= end.icount);
    const repaired = { ...manifest, witnesses, end };
    await writeManifest(layout, repaired);
    return new Tape(directory, repaired, "complete");
  } catch (error) {
    throw fileError(error, layout.log, "repairing");
  } finally {
    await rm(log, { force: true });
  }
}

/** Writes the repaired log beside the old one. Returns how many console bytes were printed in it. */
async function writeRepairedLog(
  layout: TapeLayout,
  manifest: Manifest,
  target: string,
  signal?: AbortSignal,
): Promise<number> {
  const dialect = dialectFor(manifest.qemu.version);
  const plan = await planLog(layout, dialect, signal);
  if (plan.icount === 0n) {
    throw new VmtapeError(
      "tape-unfinished",
      `the recording in ${layout.directory} was killed before its log held anything`,
      {
        file: layout.log,
        mend: `vmtape destroy ${basename(layout.directory)}`,
      },
    );
  }
  await copyNew(layout.log, target);
  await truncate(target, plan.keep);
  await using file = await open(target, "r+");
  await writeAll(file, repairedTail(plan, dialect), plan.keep);
  await writeAll(file, repairHeader(), 0);
  await file.sync();
  return Number(plan.consoleBytes);
}

async function planLog(layout: TapeLayout, dialect: ReturnType<typeof dialectFor>, signal?: AbortSignal) {
  try {
    await using source = await openFileSource(layout.log, noLinks);
    return await planRepair(source, dialect, { signal });
  } catch (error) {
    if (!isVmtapeError(error, "bad-file") || errnoOf(error.cause) !== "ENOENT") throw error;
    throw new VmtapeError(
      "tape-unfinished",
      `the recording in ${layout.directory} was killed before its log was made`,
      {
        file: layout.log,
        mend: `vmtape destroy ${basename(layout.directory)}`,
      },
    );
  }
}

/** Copies into a new file. What was at its path is removed, so that nothing is written through a link. */
async function copyNew(source: string, target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await copyFile(source, target, constants.COPYFILE_EXCL);
}

/** The recorded time in seconds: from the manifest's creation to the last write of the log. */
async function secondsRecorded(layout: TapeLayout, manifest: Manifest): Promise<number> {
  const { mtimeMs } = await stat(layout.log);
  return Math.max(0, Math.round(mtimeMs - Date.parse(manifest.created)) / 1000);
}

/** Copies a file into `original/`, unless an earlier repair has done so: the first original stays. */
async function keepOriginal(layout: TapeLayout, path: string): Promise<void> {
  const isDirectory = await mkdir(layout.original).then(
    () => true,
    async () => (await lstat(layout.original)).isDirectory(),
  );
  if (!isDirectory) {
    throw new VmtapeError("bad-file", `${layout.original} is not a directory`, { file: layout.original });
  }
  await link(path, join(layout.original, basename(path))).catch((error) => {
    if (errnoOf(error) !== "EEXIST" && errnoOf(error) !== "ENOENT") throw error;
  });
}

/**
 * Cuts the console to `wanted` bytes. QEMU writes the console before the log, so it is rarely too short. When it is
 * (the disk was full), a replay of the repaired log prints it again.
 */
async function cutConsole(tape: Tape, wanted: number, options: RepairOptions): Promise<void> {
  const { console } = tape.layout;
  const copy = `${console}.new`;
  try {
    const held = await stat(console).then(
      (facts) => facts.size,
      () => 0,
    );
    if (held >= wanted && held > 0) await copyNew(console, copy);
    else await printAgain(tape, copy, options);
    await truncate(copy, wanted);
    await rename(copy, console);
  } finally {
    await rm(copy, { force: true });
  }
}

async function printAgain(tape: Tape, target: string, { qemu, signal }: RepairOptions): Promise<void> {
  const build = await chooseQemu(tape.manifest.qemu, qemu);
  await rm(target, { recursive: true, force: true });
  const args = machineArguments(tape.machine, {
    mode: "replay",
    sandbox: build.sandbox,
    log: tape.layout.log,
    disks: "untouched",
    console: `file,path=${quote(target)}`,
  });
  await using process = await QemuProcess.start(build.path, args, { deathSignal: "KILL" });
  using _stopped = whenAborted(signal, () => process.kill("SIGKILL"));
  const end = await process.ended;
  throwIfAborted(signal);
  if (end.code !== 0) {
    throw new VmtapeError(
      "qemu-failed",
      `the repaired log does not replay: ${process.lastError || `exit code ${end.code}`}`,
      {
        file: tape.layout.log,
      },
    );
  }
}
