import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../base/errors.js";
import type { SyscallEvent } from "../linux/syscall-pass.js";
import type { Syscall } from "../linux/syscalls.js";
import { print } from "./branches-range.js";
import { loadHistory, taskOption, wantedTask } from "./load-history.js";
import { icountOf } from "./locate-icount.js";
import { debugSink, placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "./options.js";
import { grouped, note, printable, toJson } from "./output.js";
import type { ProbeFlags } from "./probe.js";
import { Progress } from "./progress.js";
import { action, type CommandContext } from "./run.js";

interface StraceFlags extends TapeOptions {
  readonly task?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit?: number;
}

export function straceCommand(): Command {
  return tapeCommand(
    "strace",
    "print the system calls of the guest's tasks, with arguments, results and durations",
  )
    .option(...taskOption)
    .option("--from <position>", "leave out calls begun before this position")
    .option("--to <position>", "end here")
    .option("--limit <n>", "end after so many calls", count)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(action(run));
}

async function run(context: CommandContext, name: string, flags: StraceFlags): Promise<void> {
  const { formatCall } = await lineMaker();
  await follow(context, name, flags, {}, (event, call) =>
    flags.json ? `${toJson(facts(event, call))}\n` : formatCall(event, call),
  );
}

/** `sys_enter:NAME` and `sys_exit:NAME`: entries or results of the calls whose names fit a pattern, one a line. */
export async function probeSyscalls(
  context: CommandContext,
  name: string,
  isEntry: boolean,
  pattern: string,
  flags: ProbeFlags,
): Promise<void> {
  for (const option of ["when", "print", "stack", "return"] as const) {
    if (flags[option] === undefined) continue;
    throw new VmtapeError(
      "usage",
      `--${option} needs a place in the kernel: probe __x64_sys_${pattern} in place of sys_enter:${pattern}`,
    );
  }
  const { globTest } = await import("../symbols/name-search.js");
  const { formatCall } = await lineMaker(isEntry);
  const fits = globTest(pattern);
  const isCalled = (call: Syscall | undefined) => call !== undefined && fits(call.name);
  await follow(context, name, flags, { atEntry: isEntry, isCalled, pattern }, (event, call) =>
    flags.json ? `${toJson(facts(event, call))}\n` : formatCall(event, call),
  );
}

interface Selection {
  /** Tell a call when it begins, without its result. */
  readonly atEntry?: boolean;
  readonly isCalled?: (call: Syscall | undefined) => boolean;
  readonly pattern?: string;
}

async function follow(
  { signal }: CommandContext,
  name: string,
  flags: StraceFlags,
  { atEntry = false, isCalled, pattern }: Selection,
  write: (event: SyscallEvent, call: Syscall | undefined) => string,
): Promise<void> {
  const [
    { parsePosition },
    { Tape },
    { loadLinuxKernel },
    { readSyscalls },
    { syscallEvents },
    { kernelPlace },
    { tapeCache },
    { buildPlugin },
    { TapeIndex },
  ] = await Promise.all([
    import("../replay/position.js"),
    import("../tape/tape.js"),
    import("../linux/linux-kernel.js"),
    import("../linux/syscalls.js"),
    import("../linux/syscall-pass.js"),
    import("../linux/kernel-place.js"),
    import("../replay/tape-cache.js"),
    import("../qemu/plugin-build.js"),
    import("../replay/tape-index.js"),
  ]);
  const [start, end] = [flags.from, flags.to].map((text) =>
    text === undefined ? undefined : parsePosition(text),
  );
  const places = placesOf(flags);
  const tape = await Tape.open(places, name, flags.dir);
  tape.requireComplete();
  using progress = new Progress();
  const fromIcount = start && (await icountOf(tape, start, flags, progress, signal));
  const toIcount = end && (await icountOf(tape, end, flags, progress, signal));
  if (fromIcount !== undefined && toIcount !== undefined && toIcount < fromIcount) {
    throw new VmtapeError("not-reached", `the end (@${toIcount}) lies before the start (@${fromIcount})`);
  }
  const history = await loadHistory(tape, flags, progress, signal);
  const isWanted = flags.task === undefined ? undefined : await wantedTask(history, flags.task);
  const kernel = loadLinuxKernel(tape.layout.kernel)!;
  const calls = readSyscalls(tape.layout.kernel, kernel);
  if (isCalled && ![...calls.values()].some(isCalled)) {
    throw new VmtapeError("not-found", `no system call is named '${pattern}'`, { got: pattern });
  }
  const shared = { qemu: qemuCandidates(flags), onProgress: progress.sink, ...debugSink(flags) };
  const cache = tapeCache(places, tape);
  const place = await kernelPlace(tape, kernel.symbols, { cache, signal, ...shared });
  if (!place) throw new VmtapeError("not-found", "the tape's Linux kernel never gets to run");
  const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
  const index = await TapeIndex.open(cache, tape.manifest.qemu);
  const from = fromIcount === undefined ? undefined : index.nearest(fromIcount);
  const events = syscallEvents(tape, kernel, {
    ...shared,
    plugin,
    history,
    place,
    signal,
    atEntry,
    ...(isWanted && { isWanted }),
    ...(fromIcount !== undefined && { fromIcount }),
    ...(toIcount !== undefined && { toIcount }),
    ...(from && { from }),
  });
  let printed = 0;
  for await (const event of events) {
    const call = calls.get(event.number);
    if (isCalled && !isCalled(call)) continue;
    await print(write(event, call), signal);
    if (signal.aborted || ++printed === flags.limit) break;
  }
  progress[Symbol.dispose]();
  if (signal.aborted) throw new VmtapeError("cancelled", "stopped on request");
  if (printed === 0) note("no such system call was made there");
}

async function lineMaker(isEntry = false) {
  const { formatArgument, formatFlags, formatResult } = await import("../linux/syscall-text.js");
  return {
    /** `@ICOUNT PID NAME  call(arguments) = result  (instructions)`. */
    formatCall(event: SyscallEvent, call: Syscall | undefined): string {
      const { task, from, to, result, number } = event;
      const name = call?.name ?? `syscall_${number}`;
      const parameters =
        call?.parameters ?? event.arguments.map((_, i) => ({ name: `arg${i}`, type: "unsigned long" }));
      const shown = parameters.map((parameter, i) => {
        const value = event.arguments[i]!;
        return formatFlags(name, parameter, value) ?? formatArgument(parameter, value, event.texts[i]);
      });
      const ended = result === undefined ? " = ?" : ` = ${formatResult(name, result)}`;
      const lasted = to === undefined ? "" : `  (${grouped(to - from)} instructions)`;
      const line = `@${from} ${task.pid} ${task.name}  ${name}(${shown.join(", ")})${isEntry ? "" : ended}${lasted}`;
      return `${printable(line)}\n`;
    },
  };
}

function facts(event: SyscallEvent, call: Syscall | undefined) {
  const { task, number, from, to, result, texts } = event;
  const shown = event.arguments.slice(0, call?.parameters?.length);
  return {
    icount: from,
    endIcount: to ?? null,
    pid: task.pid,
    tgid: task.tgid,
    task: task.name,
    number,
    call: call?.name ?? null,
    arguments: shown.map((value, i) => {
      const parameter = call?.parameters?.[i];
      const text = parameter?.type.startsWith("const char") ? texts[i]?.text : undefined;
      return { ...parameter, value: `0x${value.toString(16)}`, ...(text !== undefined && { text }) };
    }),
    result: result === undefined ? null : BigInt.asIntN(64, result),
  };
}

function count(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError("it must be a positive number.");
  return Number(text);
}
