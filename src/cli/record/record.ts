import { type Command, Option } from "commander";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { cpuModelPattern } from "../../formats/cpu-model.js";
import type { Keyboard, Typist } from "../../tape/keyboard.js";
import type { RecordOptions } from "../../tape/record-options.js";
import type { Recording } from "../../tape/recording.js";
import type { Tape } from "../../tape/tape.js";
import { beginning, isInBackground, reportStarted, startInBackground } from "../shell/background.js";
import { exitCodes, interruptedExitCode } from "../shell/failure.js";
import {
  contextFor,
  placesOf,
  qemuCandidates,
  qemuOption,
  seconds,
  several,
  type TapeOptions,
  tapeCommand,
} from "../shell/options.js";
import { note, say, sayFacts, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action, type CommandContext } from "../shell/run.js";
import { tapeFacts, tapeJson } from "./describe-tape.js";

export interface RecordFlags extends TapeOptions {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly memory?: string;
  readonly cpu?: string;
  readonly disk?: readonly string[];
  readonly net: string;
  readonly symbols?: readonly string[];
  readonly console?: boolean;
  readonly force?: boolean;
  readonly background?: boolean;
  readonly timeout?: number;
  readonly verify?: boolean;
  readonly smp?: string;
  readonly accel?: string;
  readonly kvm?: boolean;
  readonly enableKvm?: boolean;
}

export function recordCommand(): Command {
  return tapeCommand("record", "record a run: until the guest powers off, vmtape stop, or Ctrl-C")
    .option(
      "--kernel <file>",
      "bzImage, ELF vmlinux or Multiboot kernel (default: the guest of vmtape guest)",
    )
    .option("-R, --initrd <file>", "initial RAM disk")
    .option("--append <text>", "kernel command line; with the default guest: added to its own")
    .option("-M, --memory <MB>", "memory in megabytes (default: 256)")
    .option(
      "--cpu <model>",
      "QEMU CPU model[,+feature…] (default: qemu64,+rdrand, before QEMU 8 without cx16; max has every feature)",
    )
    .option(
      "-L, --disk <image>",
      "disk IMAGE[,format=raw|qcow2], copied, never written; several times for several",
      several,
    )
    .option("--net <network>", "none, or user[,hostfwd=tcp::PORT-:PORT]", "none")
    .option(
      "--symbols <file>",
      "symbols to go with the tape: FILE[,prefix=TEXT][,range=LOW-HIGH]; several times",
      several,
    )
    .option("-c, --console", "attach to the guest's console; Ctrl-] detaches or stops (see vmtape attach)")
    .option("-f, --force", "replace a tape of this name, ending its recording if one runs")
    .option("--background", "return as soon as the guest runs")
    .option("--timeout <seconds>", "stop after so many seconds", seconds)
    .option(
      "--verify",
      "then replay it twice, and mark the tape as proved or refuted; exit 1 where it parted",
    )
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .addOption(new Option("--smp <n>").hideHelp())
    .addOption(new Option("--accel <name>").hideHelp())
    .addOption(new Option("--kvm").hideHelp())
    .addOption(new Option("--enable-kvm").hideHelp())
    .action(action(run));
}

async function run(context: CommandContext, name: string, flags: RecordFlags): Promise<void> {
  const { checkTapeName } = await import("../../tape/home.js");
  checkTapeName(name);
  refuseUnreplayable(flags);
  const interactive = flags.console === true && process.stdin.isTTY === true && process.stdout.isTTY === true;
  if (!isInBackground() && (flags.background || interactive))
    return runInBackground(context, name, flags, interactive);
  const recording = await beginning(start(context, name, flags));
  if (isInBackground()) reportStarted({ dir: recording.layout.directory });
  using _input = flags.console && !isInBackground() ? forwardInput(recording) : undefined;
  await finish(context, await recording.done, flags);
  if (context.signal.aborted) process.exitCode = interruptedExitCode;
}

/** Starts a recording in this process. */
async function start(context: CommandContext, name: string, flags: RecordFlags): Promise<Recording> {
  const { record } = await import("../../tape/recording.js");
  const places = placesOf(flags);
  const progress = new Progress();
  const clear = () => progress[Symbol.dispose]();
  try {
    const options = await recordOptions(name, flags, context.signal, progress);
    if (flags.force) await endRunning(name, flags);
    const replaced = flags.force ? await cacheDropper(name, flags) : undefined;
    const quiet = flags.console === true || isInBackground();
    const recording = await record(places, options, {
      ...contextFor(flags, context.signal, quiet ? undefined : progress),
      onConsole: flags.console ? (bytes) => process.stdout.write(bytes) : undefined,
      onNotice: note,
    });
    recording.done.then(clear, clear);
    if (options.guard === undefined)
      note("no states of the recording are hashed: the guard cannot be built (vmtape doctor)");
    await replaced?.();
    return recording;
  } catch (error) {
    clear();
    throw error;
  }
}

/**
 * A function that removes the cache of the tape that has this name now, to be called once another has replaced it.
 */
async function cacheDropper(name: string, flags: RecordFlags): Promise<(() => Promise<void>) | undefined> {
  const [{ tapeDirectory }, { readTapeManifest }, { dropTapeCache }] = await Promise.all([
    import("../../tape/home.js"),
    import("../../tape/tape.js"),
    import("../../replay/session/tape-cache.js"),
  ]);
  const places = placesOf(flags);
  const directory = tapeDirectory(places, name, flags.dir);
  const manifest = await readTapeManifest(directory, name).catch(() => undefined);
  return manifest && (() => dropTapeCache(places, manifest, directory));
}

/** Turns the command line into options; makes the default guest when no kernel is named. */
export async function recordOptions(
  name: string,
  flags: RecordFlags,
  signal: AbortSignal,
  progress: Progress,
): Promise<RecordOptions> {
  const [{ inspectQemu }, { parseNetwork }, options] = await Promise.all([
    import("../../qemu/build.js"),
    import("../../qemu/network.js"),
    import("../../tape/record-options.js"),
  ]);
  const { defaultCpu, recordDefaults, parseMemoryMB, parseDisk, parseSymbols } = options;
  const memoryMB = flags.memory === undefined ? recordDefaults.memoryMB : parseMemoryMB(flags.memory);
  const network = parseNetwork(flags.net);
  const disks = (flags.disk ?? []).map(parseDisk);
  const symbols = (flags.symbols ?? []).map(parseSymbols);
  const qemu = await inspectQemu(qemuCandidates(flags)[0]);
  const machine = await chooseKernel(flags, signal, progress);
  const guard = await builtGuard(placesOf(flags).cache, qemu.version);
  return {
    name,
    ...(flags.dir !== undefined && { directory: flags.dir }),
    force: flags.force === true,
    qemu,
    ...machine,
    memoryMB,
    cpu: checkCpu(flags.cpu ?? defaultCpu(qemu.version)),
    disks,
    network,
    symbols,
    ...(guard !== undefined && { guard }),
    ...(flags.timeout !== undefined && { timeoutSeconds: flags.timeout }),
  };
}

/**
 * The built guard; undefined when it cannot be built, for lack of a compiler or of disk space. The recording then has
 * no witnesses.
 */
async function builtGuard(cacheDir: string, qemuVersion: string): Promise<string | undefined> {
  const { buildPlugin, guardOf } = await import("../../qemu/plugin-build.js");
  try {
    return guardOf(await buildPlugin({ cacheDir, qemuVersion }));
  } catch (error) {
    const known = ["missing-tool", "not-writable", "disk-full"] as const;
    if (!known.some((code) => isVmtapeError(error, code))) throw error;
    return undefined;
  }
}

async function chooseKernel(flags: RecordFlags, signal: AbortSignal, progress: Progress) {
  if (flags.kernel === undefined) {
    const { makeGuest } = await import("../../guest/guest.js");
    const [{ diskFileSystems }, { parseDisk }] = await Promise.all([
      import("./disk-file-systems.js"),
      import("../../tape/record-options.js"),
    ]);
    const guest = await makeGuest({
      cacheDir: placesOf(flags).cache,
      fileSystems: diskFileSystems((flags.disk ?? []).map(parseDisk)),
      progress: progress.sink,
      signal,
    });
    const append = flags.append === undefined ? guest.append : `${guest.append} ${flags.append}`;
    return { kernel: guest.kernel, initrd: flags.initrd ?? guest.initrd, append };
  }
  const { isLinux } = await import("../../tape/record-options.js");
  const { defaultAppend } = await import("../../guest/append.js");
  const append = flags.append ?? ((await isLinux(flags.kernel)) ? defaultAppend : "");
  return { kernel: flags.kernel, ...(flags.initrd !== undefined && { initrd: flags.initrd }), append };
}

/** Refuses what QEMU can run but not replay, before anything is made. */
function refuseUnreplayable(flags: RecordFlags): void {
  if (flags.smp !== undefined && flags.smp !== "1") {
    throw new VmtapeError(
      "unsupported",
      `a machine with ${flags.smp} CPUs cannot be replayed: QEMU replays one`,
      { got: flags.smp, expected: "1" },
    );
  }
  if (flags.kvm || flags.enableKvm || (flags.accel !== undefined && flags.accel !== "tcg")) {
    const accel = flags.accel ?? "kvm";
    throw new VmtapeError(
      "unsupported",
      `a run under '${accel}' cannot be replayed: only under QEMU's own emulation (tcg)`,
      { got: accel, expected: "tcg" },
    );
  }
}

function checkCpu(model: string): string {
  if (cpuModelPattern.test(model) && !/^host\b/.test(model)) return model;
  throw new VmtapeError(
    "usage",
    `'${model.slice(0, 64)}' is no CPU model QEMU emulates: use a name such as qemu64, max or Haswell`,
    { got: model.slice(0, 64) },
  );
}

async function endRunning(name: string, flags: RecordFlags): Promise<void> {
  const [{ ControlClient }, { tapeDirectory }] = await Promise.all([
    import("../../tape/control.js"),
    import("../../tape/home.js"),
  ]);
  const places = placesOf(flags);
  const client = await ControlClient.connect(places, tapeDirectory(places, name, flags.dir));
  await client?.stop().catch(() => {}); // it is replaced, however the recording ended
}

/** Records in a process of its own, while this one prints what it reports, or is its console. */
async function runInBackground(
  context: CommandContext,
  name: string,
  flags: RecordFlags,
  interactive: boolean,
): Promise<void> {
  const { signal } = context;
  if (flags.kernel === undefined) {
    using progress = new Progress(); // the guest is made in this process, which shows the progress
    await chooseKernel(flags, signal, progress);
  }
  const { pid, facts } = await startInBackground(signal);
  const places = placesOf(flags);
  if (interactive) {
    const [{ ControlClient }, { attachConsole }] = await Promise.all([
      import("../../tape/control.js"),
      import("./attach-console.js"),
    ]);
    const client = await ControlClient.connect(places, String(facts.dir));
    const stop = async () => (await ControlClient.connect(places, String(facts.dir)))?.stop();
    const left = client ? await attachConsole(client, { name, role: "owner", signal, stop }) : "ended";
    if (left === "ended") {
      await finish(context, await whenComplete(String(facts.dir), name), flags);
      if (signal.aborted) process.exitCode = interruptedExitCode;
      return;
    }
  }
  if (flags.json) return say(toJson({ name, dir: facts.dir, state: "recording", pid }));
  sayFacts({ tape: name, place: String(facts.dir), state: "recording", end: `vmtape stop ${name}` });
}

/** Opens the tape once its writer has released it. */
async function whenComplete(directory: string, name: string): Promise<Tape> {
  const [{ Tape }, { setTimeout: delay }] = await Promise.all([
    import("../../tape/tape.js"),
    import("node:timers/promises"),
  ]);
  for (;;) {
    const tape = await Tape.openDirectory(directory, name);
    if (tape.state === "complete") return tape;
    if (tape.state === "interrupted") tape.requireComplete();
    await delay(50);
  }
}

/**
 * Types what arrives on stdin when it is no terminal: `printf 'ls\n' | vmtape record NAME -c`. Nothing is read of it after this was
 * disposed, so that the program can end: what the guest has not read by then may be answered later.
 */
function forwardInput(recording: Recording): Disposable {
  const typist = { name: `the recorder's own input (process ${process.pid})` };
  const { keyboard } = recording.console;
  let hasEnded = false;
  process.stdin.on("data", (bytes: Buffer) => {
    process.stdin.pause(); // until the guest has read them
    void whenHeld(keyboard, typist)
      .then(() => recording.type(bytes))
      .then(() => {
        if (!hasEnded) process.stdin.resume();
      });
  });
  process.stdin.on("end", () => keyboard.release(typist));
  process.stdin.on("error", () => {});
  return {
    [Symbol.dispose]() {
      hasEnded = true;
      process.stdin.destroy(); // not paused: one that has just been resumed would read on
    },
  };
}

/** Verifies the tape if the user asked for it and did not press Ctrl-C, and prints its facts. */
async function finish({ signal }: CommandContext, tape: Tape, flags: RecordFlags): Promise<void> {
  const isElsewhere = isInBackground() && flags.console === true; // the process with the console does it
  if (!flags.verify || signal.aborted || isElsewhere) return printResult(tape, flags);
  const { proveTape, sayVerifyReport } = await import("../replay/verify.js");
  const { tape: marked, report } = await proveTape(tape, flags, signal);
  if (!report.ok) process.exitCode = exitCodes.no;
  printResult(marked, flags);
  if (!report.ok && !flags.json && !isInBackground()) await sayVerifyReport(marked, report);
}

/** Resolves when the typist has the keyboard: at once when it is free, otherwise when another client releases it. */
function whenHeld(keyboard: Keyboard, typist: Typist): Promise<void> {
  if (keyboard.claim(typist)) return Promise.resolve();
  return new Promise((resolve) => {
    const forget = keyboard.onChange(() => {
      if (keyboard.holder !== undefined) return;
      forget();
      keyboard.claim(typist);
      resolve();
    });
  });
}

function printResult(tape: Tape, flags: RecordFlags): void {
  if (flags.json) say(toJson(tapeJson(tape, undefined)));
  else {
    if (flags.console) say();
    sayFacts(tapeFacts(tape));
  }
  if (tape.end.cause === "disk-full") {
    note(`vmtape: the disk was nearly full, so the recording was ended; its tape replays to there`);
    process.exitCode = exitCodes.machine;
  }
}
