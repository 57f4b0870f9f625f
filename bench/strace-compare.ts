/**
 * Does `strace` of a tape tell what strace tells? A guest is recorded in which the real strace follows several programs
 * (busybox's applets, a dynamic program, one with threads, children, signals and calls by int 0x80, a 32-bit one; calls
 * whose arguments depend on each other; stops, deaths and executions of every kind) and prints what it has seen on the
 * console. Each of its lines is compared with ours of the same task on the same tape: names and results must be the same,
 * arguments where both show more than a number. Stops, deaths and executions happen once more with nobody following, where
 * the kernel goes other ways: how tasks stopped and ended must be the same again.
 *
 *     node test/oracle/run.mjs bench/strace-compare.ts [--package PACKAGE | --kernel VMLINUZ] [--append WORDS]
 *         [--qemu PROGRAM] [--strace FILE] [--keep DIRECTORY] [--plain] [--golden FILE]
 *
 * `--golden` writes what strace said of stops, deaths and executions, which a test compares with: `test/golden/strace.json`.
 *
 * Needs strace (`apt-get install strace`, or `--strace` with an unpacked one whose libraries are installed) and a C
 * compiler. Exit code 1 when a name or a result differs. About two minutes. `--plain` lists the arguments that strace
 * shows with more; with `--append syscall.x32=y` and a stock kernel calls with the numbers of x32 are carried out.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runTool } from "../src/base/tool.js";
import { happeningText } from "../src/cli/guest/strace-line.js";
import type { Addition } from "../src/guest/addition.js";
import { makeGuest } from "../src/guest/guest.js";
import { loadLinuxKernel } from "../src/linux/guest/linux-kernel.js";
import { TapeSymbols } from "../src/linux/names/tape-symbols.js";
import { probeNamesOf } from "../src/linux/pass/probe-names.js";
import { syscallKernel } from "../src/linux/probe/guest-timeline.js";
import { syscallEvents } from "../src/linux/syscall/pass.js";
import type { SyscallEvent } from "../src/linux/syscall/task-events.js";
import { formatResult } from "../src/linux/syscall/text.js";
import { inspectQemu } from "../src/qemu/build.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { placesFrom } from "../src/tape/home.js";
import { defaultRecordOptions } from "../src/tape/record-options.js";
import { record } from "../src/tape/recording.js";
import type { Tape } from "../src/tape/tape.js";
import { endLines, isIgnored, type TaskLines } from "../test/linux/strace-ends.js";
import { compareEnds, compareTasks, readStrace } from "./strace-lines.js";

const { values } = parseArgs({
  options: {
    append: { type: "string", default: "" },
    package: { type: "string", default: "linux-image-cloud-amd64" },
    kernel: { type: "string" },
    qemu: { type: "string", default: "qemu-system-x86_64" },
    strace: { type: "string", default: "/usr/bin/strace" },
    keep: { type: "string" },
    plain: { type: "boolean", default: false },
    golden: { type: "string" },
  },
});
if (values.keep) await mkdir(values.keep, { recursive: true });
const here = dirname(fileURLToPath(import.meta.url));
const programs = join(here, "../test/linux");
const scratch = values.keep ?? (await mkdtemp(join(tmpdir(), "vmtape-strace-")));

const runs = [
  "busybox ls -l /etc /bin/busybox",
  "busybox sh -c 'echo hi | busybox cat; busybox false; exit 4'",
  "busybox find /etc -name 'm*'",
  "busybox dd if=/dev/zero of=/big bs=4096 count=3",
  "/bin/date -u -d @0",
  "/bin/calls",
  "/bin/calls32",
  ...["timers", "prctls", "clones", "terminals", "disks", "network", "reboots", "filters", "x32"].map(
    (part) => `/bin/controls ${part}`,
  ),
  "/bin/signals stops",
  "/bin/signals deaths",
  "/bin/signals executions",
];
/** These run once more with nobody following them; how their tasks end is compared with what strace saw. */
const alone = ["stops", "deaths", "executions"];
/** Longer names of tasks are cut. */
const longestName = 15;
const init = `#!/bin/sh
export PATH=/sbin:/bin:/usr/bin HOME=/
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
cd /
echo 1 > /proc/sys/kernel/printk
echo 0 > /proc/sys/kernel/randomize_va_space
echo core > /proc/sys/kernel/core_pattern
${runs.map((run, i) => `strace -f -o /strace.${i} ${run} > /dev/null 2>&1`).join("\n")}
${alone.map((part) => `/bin/alone.${part} ${part} > /dev/null 2>&1`).join("\n")}
echo
for i in ${runs.map((_, i) => i).join(" ")}; do echo "@@ $i"; cat /strace.$i; done
echo "@@ end"
poweroff -f
`;

try {
  await main();
} finally {
  if (!values.keep) await rm(scratch, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const tape = await recordGuest();
  const theirs = readStrace(await readFile(tape.layout.console, "latin1"));
  if (values.golden !== undefined) await writeFile(values.golden, goldenText(theirs));
  const { lines: ours, names } = await ourTasks(tape);
  const totals = {
    ...{ tasks: 0, compared: 0, different: 0, arguments: 0, otherArguments: 0, plainer: 0 },
    ...{ ignored: 0, hidden: 0, richer: 0 },
  };
  const comparisons = [
    ...runs.map((command, i) => [command, compareTasks(theirs.get(i) ?? new Map(), ours)] as const),
    ...alone.map((part) => {
      const seen = theirs.get(runs.indexOf(`/bin/signals ${part}`)) ?? new Map();
      const own = new Map(
        [...ours].filter(([pid]) => names.get(pid)?.has(`alone.${part}`.slice(0, longestName))),
      );
      return [`${part}, followed by nobody`, compareEnds(seen, own)] as const;
    }),
  ];
  for (const [command, found] of comparisons) {
    totals.tasks += found.tasks;
    totals.compared += found.compared;
    totals.different += found.different.length;
    totals.arguments += found.arguments;
    totals.otherArguments += found.otherArguments.length;
    totals.plainer += found.plain.length;
    totals.richer += found.richer;
    totals.ignored += found.ignored;
    totals.hidden += found.hidden;
    console.log(
      `${command}: ${found.tasks} tasks, ${found.compared} lines compared, ${found.different.length} different; ${found.arguments} arguments, ${found.otherArguments.length} different, ${found.plain.length} plainer`,
    );
    const shown = [found.different, found.otherArguments, values.plain ? found.plain : []];
    for (const line of shown.flatMap((lines) => lines.slice(0, 40))) console.log(`  ${line}`);
  }
  console.log(
    `in all: ${totals.tasks} tasks, compared ${totals.compared}, different ${totals.different}; arguments ${totals.arguments}, different ${totals.otherArguments}, plainer ${totals.plainer}, richer ${totals.richer}; signals dropped without a tracer ${totals.ignored}, hidden from strace ${totals.hidden}`,
  );
  const empty = comparisons.filter(([, { compared }]) => compared === 0).map(([command]) => command);
  if (empty.length > 0) throw new Error(`nothing was compared of ${empty.join(", ")}`);
  if (totals.different > 0 || totals.compared < 200) process.exitCode = 1;
}

function goldenText(theirs: ReadonlyMap<number, TaskLines>): string {
  const parts = alone.map((part) => {
    const lines = endLines(theirs.get(runs.indexOf(`/bin/signals ${part}`)) ?? new Map());
    return [part, lines.map((own, i) => (i === 0 ? own : own.filter((line) => !isIgnored(line))))] as const;
  });
  return `${JSON.stringify(Object.fromEntries(parts), null, 2)}\n`;
}

async function recordGuest(): Promise<Tape> {
  const program = join(scratch, "calls");
  await runTool("cc", ["-O1", "-w", "-pthread", "-o", program, join(here, "strace-compare.c")]);
  const signals = join(scratch, "signals");
  await runTool("cc", ["-O1", "-w", "-pthread", "-o", signals, join(programs, "strace-signals.c")]);
  const controls = join(scratch, "controls");
  await runTool("cc", ["-O1", "-w", "-o", controls, join(programs, "strace-controls.c")]);
  const small = join(scratch, "calls32");
  await runTool("cc", ["-m32", "-nostdlib", "-static", "-o", small, join(here, "strace-compare-32.S")]);
  const files = ["/bin/date", program, values.strace];
  const libraries = new Set((await Promise.all(files.map(librariesOf))).flat());
  const additions: Addition[] = [
    { source: "/bin/date", destination: "/bin/date" },
    { source: program, destination: "/bin/calls" },
    { source: controls, destination: "/bin/controls" },
    { source: small, destination: "/bin/calls32" },
    ...["signals", ...alone.map((part) => `alone.${part}`)].map((name) => ({
      source: signals,
      destination: `/bin/${name}`,
    })),
    { source: values.strace, destination: "/bin/strace" },
    ...[...libraries].map((file) => ({ source: file, destination: file })),
  ];
  await writeFile(join(scratch, "init"), init);
  const { cache } = placesFrom(process.env);
  const guest = await makeGuest({
    cacheDir: cache,
    directory: join(scratch, "guest"),
    package: values.package,
    init: join(scratch, "init"),
    additions,
  });
  const places = {
    home: join(scratch, "home"),
    cache: join(scratch, "cache"),
    runtime: join(scratch, "run"),
  };
  const { initrd, append } = guest;
  const kernel = values.kernel ?? guest.kernel;
  const options = {
    ...(await defaultRecordOptions("strace")),
    force: true,
    kernel,
    initrd,
    append: `${append} ${values.append}`.trim(),
    qemu: await inspectQemu(values.qemu),
  };
  const recording = await record(places, options);
  return recording.done;
}

/** The shared libraries of a program, and its interpreter. */
async function librariesOf(file: string): Promise<string[]> {
  const { stdout } = await runTool("ldd", [file]);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!);
}

/** What the tape tells of each task, as lines without pid. */
async function ourTasks(
  tape: Tape,
): Promise<{ lines: TaskLines; names: ReadonlyMap<number, ReadonlySet<string>> }> {
  const places = {
    home: join(scratch, "home"),
    cache: join(scratch, "cache"),
    runtime: join(scratch, "run"),
  };
  const options = await timelineOptions(places, tape, { qemu: [values.qemu] });
  const symbols = await TapeSymbols.load(tape, options);
  const kernel = loadLinuxKernel(tape.layout.kernel);
  const calls = syscallKernel(tape, kernel, probeNamesOf(symbols, kernel));
  const tasks = new Map<number, string[]>();
  const names = new Map<number, Set<string>>();
  for await (const event of syscallEvents(tape, calls, { plugin: options.plugin, qemu: [values.qemu] })) {
    const lines = tasks.get(event.task.pid) ?? [];
    tasks.set(event.task.pid, lines);
    names.set(event.task.pid, (names.get(event.task.pid) ?? new Set()).add(event.task.name));
    lines.push(event.kind === "call" ? callText(event) : happeningText(event));
  }
  return { lines: tasks, names };
}

function callText({ call, texts, result }: SyscallEvent): string {
  return `${call.name}(${texts.join(", ")}) = ${result === undefined ? "?" : formatResult(call.name, result)}`;
}
