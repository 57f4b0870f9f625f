/**
 * Is the branch log exact? A stock Debian boot is recorded with each QEMU given, traced whole, and judged:
 *
 * - by single-stepping a plain QEMU over windows chosen to hurt (the oracle of test/oracle): every record's from,
 *   to, kind and icount;
 * - by itself: the log's SHA-256 over further replays, the count of a run that logs nothing, and logs that begin at
 *   checkpoints must be the same.
 *
 *     node test/oracle/run.mjs bench/branch-exactness.ts [--qemu PROGRAM]… [--steps N] [--replays N] [--checkpoints N]
 *         [--tape DIRECTORY]
 *
 * Defaults: the distribution's QEMU, 300000 steps, 10 replays, 5 checkpoints; about 10 minutes a QEMU, most of it
 * steps. `--tape` judges a tape that exists. Exit code 1 when anything differs.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { TapeSymbols } from "../src/linux/names/tape-symbols.js";
import { Tape } from "../src/tape/tape.js";
import { BranchLog } from "../src/trace/branch-log.js";
import type { BranchRecord } from "../test/oracle/branch-record.js";
import { showMismatch } from "../test/oracle/compare.js";
import { judge } from "../test/oracle/judge.js";
import { readInterrupts } from "../test/oracle/qemu-interrupts.js";
import { readDeliveries, replayLogOf } from "../test/oracle/replay-events.js";
import {
  evenWindows,
  firmwareWindows,
  merged,
  placeWindows,
  troubledWindows,
} from "../test/oracle/windows.js";

const program = join(dirname(fileURLToPath(import.meta.url)), "../dist/cli/main.js");
/** Instructions of a window before and after what it is about. */
const before = 500;
const after = 4500;

/** Kernel functions whose first call makes a window: text patching, faults, copies, forks, signals, the way out. */
const places = [
  ...["text_poke_early", "apply_alternatives", "apply_paravirt", "apply_retpolines", "apply_returns"],
  ...["__static_call_transform", "jump_label_update", "__text_poke", "text_poke_bp_batch", "do_sync_core"],
  ...["early_idt_handler_common", "idt_setup_early_traps", "int3_magic", "native_cpuid", "delay_tsc"],
  ...[
    "clear_page_rep",
    "copy_page",
    "clear_user_rep_good",
    "copy_user_generic_string",
    "rep_movs_alternative",
  ],
  ...["copy_process", "ret_from_fork", "__switch_to_asm", "wp_page_copy", "__x64_sys_execve", "start_thread"],
  ...["entry_SYSCALL_64", "syscall_return_via_sysret", "arch_do_signal_or_restart", "__x64_sys_rt_sigreturn"],
  ...["__x64_sys_kill", "__x64_sys_exit_group", "serial8250_console_write", "machine_power_off"],
];

const { values } = parseArgs({
  options: {
    qemu: { type: "string", multiple: true, default: ["qemu-system-x86_64"] },
    steps: { type: "string", default: "300000" },
    replays: { type: "string", default: "10" },
    checkpoints: { type: "string", default: "5" },
    tape: { type: "string" },
  },
});
let faults = 0;
for (const qemu of values.qemu) {
  const directory = await mkdtemp(join(tmpdir(), "vmtape-exactness-"));
  try {
    await judgeQemu(qemu, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
process.exitCode = faults === 0 ? 0 : 1;

async function judgeQemu(qemu: string, directory: string): Promise<void> {
  const vmtape = (...args: string[]) => runVmtape(args, { directory, qemu });
  const dir = values.tape ?? join(directory, "boot");
  const at = ["--dir", dir];
  if (values.tape === undefined) await vmtape("record", "boot", ...at);
  const info = await vmtape("info", "boot", ...at);
  const argv = info.replayCommand as string[];
  const qemuVersion = (info.qemu as { version: string }).version;
  say(`QEMU ${qemuVersion}: a boot of ${info.icount} instructions`);

  const whole = join(directory, "whole.branches");
  const trace = await vmtape("trace", "boot", ...at, "--all", "-o", whole);
  say(`${trace.records} branches, ${trace.bytes} bytes`);
  await judgeBySteps(argv, whole, await windowsOf(argv, dir, directory, qemu));
  await judgeByRepetition(vmtape, at, directory, whole);
}

async function windowsOf(argv: readonly string[], dir: string, cache: string, qemu: string) {
  const interrupts = await readInterrupts(argv);
  const deliveries = readDeliveries(replayLogOf(argv));
  const { symbols } = await TapeSymbols.load(await Tape.openDirectory(dir), { cache, qemu: [qemu] });
  const found = new Map(
    places.flatMap((name) => symbols.find(name).map(({ address }) => [name, address] as const)),
  );
  const wanted = await placeWindows(argv, found, after);
  // As many of each kind as it takes; windows that overlap have become one.
  for (let count = 2; ; count++) {
    const windows = merged([
      ...troubledWindows(interrupts, { count, before, after }),
      ...firmwareWindows(deliveries, interrupts, { count, before, after }),
      ...evenWindows(deliveries.end, count, after),
      ...wanted,
    ]);
    const steps = windows.reduce((sum, { from, to }) => sum + to - from, 0);
    if (steps >= Number(values.steps) || count > 1000) return { windows, interrupts };
  }
}

async function judgeBySteps(
  argv: readonly string[],
  whole: string,
  { windows, interrupts }: Awaited<ReturnType<typeof windowsOf>>,
): Promise<void> {
  await using log = await BranchLog.open(whole);
  const between = async (from: number, to: number): Promise<BranchRecord[]> => {
    const records: BranchRecord[] = [];
    for await (const batch of log.batches({ fromIcount: from, toIcount: to })) {
      for (let i = 0; i < batch.length; i++) {
        const { from, to, kind, icount } = batch.record(i);
        records.push({ from, to, kind: kind as BranchRecord["kind"], icount: Number(icount) });
      }
    }
    return records;
  };
  let steps = 0;
  let seconds = 0;
  let branches = 0;
  let mismatched = 0;
  let doubted = 0;
  for await (const { window, stepped, mismatches, disputed } of judge(argv, windows, {
    log: between,
    interrupts,
  })) {
    steps += stepped.steps;
    seconds += stepped.seconds;
    branches += stepped.records.length;
    mismatched += mismatches.length;
    doubted += stepped.doubts.length + disputed.length;
    say(
      `@${stepped.from}`.padEnd(13) +
        `${stepped.steps} steps, ${stepped.records.length} branches, ${mismatches.length} mismatches: ${window.name}`,
    );
    for (const line of [...mismatches.map(showMismatch), ...stepped.doubts, ...disputed].slice(0, 5))
      say(`  ${line}`);
  }
  faults += mismatched + doubted;
  say(
    `${windows.length} windows, ${steps} steps at ${Math.round(steps / seconds)} a second, ${branches} branches: ` +
      `${mismatched} mismatches, ${doubted} doubts of the oracle`,
  );
}

async function judgeByRepetition(
  vmtape: (...args: string[]) => Promise<Record<string, unknown>>,
  at: readonly string[],
  directory: string,
  whole: string,
): Promise<void> {
  const hash = await sha256(whole);
  const again = join(directory, "again.branches");
  const tell = (what: string, same: number, of: number) => {
    say(`${what}: ${same} of ${of} the same`);
    faults += of - same;
  };
  const replays = Number(values.replays);
  let same = 0;
  for (let i = 0; i < replays; i++) {
    await vmtape("trace", "boot", ...at, "--all", "-o", again);
    if ((await sha256(again)) === hash) same++;
  }
  tell(`SHA-256 ${hash.slice(0, 16)}… of the log, replays`, same, replays);

  await using log = await BranchLog.open(whole);
  const counted = await vmtape("trace", "boot", ...at, "--all", "--count-only");
  const end = (counted.end as { brctr: unknown }).brctr;
  tell(
    `brctr ${log.info.end.brctr} at the end, counted without logging`,
    Number(`${end}` === `${log.info.end.brctr}`),
    1,
  );

  const wanted = Number(values.checkpoints);
  if (wanted === 0) return;
  const { checkpoints } = (await vmtape("index", "boot", ...at, "--checkpoints", `${wanted}`)) as {
    checkpoints: { icount: number; brctr: number }[];
  };
  same = 0;
  for (const { icount, brctr } of checkpoints) {
    await vmtape("trace", "boot", ...at, `@${icount}`, "end", "-o", again);
    const known = (await log.seekIcount(icount)) === BigInt(brctr);
    if (known && (await recordsHash(again, 0)) === (await recordsHash(whole, brctr))) same++;
  }
  tell("brctr and all records from checkpoints to the end", same, checkpoints.length);
}

/** A hash over the records of a log from a brctr on, whatever the chunks and batches they come in. */
async function recordsHash(file: string, from: number): Promise<string> {
  await using log = await BranchLog.open(file);
  const columns = Array.from({ length: 4 }, () => createHash("sha256"));
  for await (const { length, ...batch } of log.batches({ from })) {
    [batch.from, batch.to, batch.kind, batch.icount].forEach((column, i) => {
      columns[i]!.update(column.subarray(0, length));
    });
  }
  return [log.info.end.brctr, ...columns.map((hash) => hash.digest("hex"))].join(" ");
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** Runs the command line as a user would, and gives back what it says in JSON. */
async function runVmtape(
  args: readonly string[],
  where: { readonly directory: string; readonly qemu: string },
) {
  const child = spawn(process.execPath, [program, ...args, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, VMTAPE_HOME: where.directory, VMTAPE_QEMU: where.qemu },
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`vmtape ${args.join(" ")} ended with ${code}`);
  return JSON.parse(output) as Record<string, unknown>;
}

function say(line: string): void {
  console.log(line);
}
