import { type Command, InvalidArgumentError } from "commander";
import { VmtapeError } from "../base/errors.js";
import type { SyscallEvent } from "../linux/syscall-pass.js";
import type { Syscall } from "../linux/syscalls.js";
import { print } from "./branches-range.js";
import { loadHistory, taskOption, wantedTask } from "./load-history.js";
import { icountOf } from "./locate-icount.js";
import { debugSink, placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "./options.js";
import { grouped, note, printable, toJson } from "./output.js";
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
  const { signal } = context;
  const [{ parsePosition }, { Tape }, { loadLinuxKernel }, { readSyscalls }, { syscallEvents }] =
    await Promise.all([
      import("../replay/position.js"),
      import("../tape/tape.js"),
      import("../linux/linux-kernel.js"),
      import("../linux/syscalls.js"),
      import("../linux/syscall-pass.js"),
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
  const history = await loadHistory(tape, flags, progress, signal);
  const isWanted = flags.task === undefined ? undefined : await wantedTask(history, flags.task);
  const kernel = loadLinuxKernel(tape.layout.kernel)!;
  const calls = readSyscalls(tape.layout.kernel, kernel);
  const shared = { qemu: qemuCandidates(flags), onProgress: progress.sink, ...debugSink(flags) };
  const { kernelPlace } = await import("../linux/kernel-place.js");
  const { tapeCache } = await import("../replay/tape-cache.js");
  const place = await kernelPlace(tape, kernel.symbols, {
    cache: tapeCache(places, tape),
    signal,
    ...shared,
  });
  if (!place) throw new VmtapeError("not-found", "the tape's Linux kernel never gets to run");
  const { buildPlugin } = await import("../qemu/plugin-build.js");
  const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
  const { TapeIndex } = await import("../replay/tape-index.js");
  const index = await TapeIndex.open(tapeCache(places, tape), tape.manifest.qemu);
  const from = fromIcount === undefined ? undefined : index.nearest(fromIcount);
  const events = syscallEvents(tape, kernel, {
    ...shared,
    plugin,
    history,
    place,
    signal,
    ...(isWanted && { isWanted }),
    ...(fromIcount !== undefined && { fromIcount }),
    ...(toIcount !== undefined && { toIcount }),
    ...(from && { from }),
  });
  const { formatCall } = await lineMaker();
  let printed = 0;
  for await (const event of events) {
    const call = calls.get(event.number);
    await print(flags.json ? `${toJson(facts(event, call))}\n` : formatCall(event, call), signal);
    if (signal.aborted || ++printed === flags.limit) break;
  }
  progress[Symbol.dispose]();
  if (printed === 0) note("no system call was made there");
}

async function lineMaker() {
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
      const ended = result === undefined ? "?" : formatResult(name, result);
      const lasted = to === undefined ? "" : `  (${grouped(to - from)} instructions)`;
      const line = `@${from} ${task.pid} ${task.name}  ${name}(${shown.join(", ")}) = ${ended}${lasted}`;
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
