/**
 * What recording and replaying cost, on the default guest: ratios between runs of one session, interleaved so that
 * a busy host slows all of them alike; medians.
 *
 *     npm run bench record [-- --rounds N] [-- --qemu PROGRAM]
 *
 * Plain QEMU is started with the tape's own command line (`vmtape info --json`, `replayCommand`), changed as little
 * as the arm needs. Fails when a target of the project is missed.
 */
import { type SpawnOptions, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const program = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, qemu: { type: "string" } },
});
const rounds = Number(values.rounds);
const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));
const environment = {
  ...process.env,
  VMTAPE_HOME: join(directory, "home"),
  ...(values.qemu !== undefined && { VMTAPE_QEMU: values.qemu }),
};

interface Info {
  readonly icount: number;
  readonly log: { readonly bytes: number; readonly events: number };
  readonly qemu: { readonly fullVersion: string };
  readonly replayCommand: readonly string[];
}

/** Runs a program; its wall-clock seconds and what it printed. It must end with exit code 0. */
function run(command: readonly string[], stdio: SpawnOptions["stdio"] = ["ignore", "pipe", "inherit"]) {
  const begin = performance.now();
  const [file = "", ...args] = command;
  const child = spawn(file, args, { stdio, env: environment });
  let stdout = "";
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  return new Promise<{ seconds: number; stdout: string }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve({ seconds: (performance.now() - begin) / 1000, stdout });
      else reject(new Error(`${command.slice(0, 4).join(" ")} … ended with ${code}`));
    });
  });
}

const vmtape = (...args: string[]) => run([process.execPath, program, ...args]);
const quiet = ["ignore", "ignore", "inherit"] as const;

/** The replay command with another `-icount`, or none. */
function withIcount(command: readonly string[], icount: string | undefined): string[] {
  const at = command.indexOf("-icount");
  return [
    ...command.slice(0, at),
    ...(icount === undefined ? [] : ["-icount", icount]),
    ...command.slice(at + 2),
  ];
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

async function measure(): Promise<boolean> {
  await vmtape("record", "first", "--json");
  const first = JSON.parse((await vmtape("info", "first", "--json")).stdout) as Info;
  const command = first.replayCommand;
  const arms = {
    "plain QEMU": () => run(withIcount(command, undefined), [...quiet]),
    "plain QEMU -icount": () => run(withIcount(command, "shift=auto"), [...quiet]),
    "plain QEMU record": () =>
      run(withIcount(command, `shift=auto,rr=record,rrfile=${join(directory, "log")}`), [...quiet]),
    "vmtape record": () => vmtape("record", "t", "-f", "--json"),
    "plain QEMU replay": () => run(command, [...quiet]),
    "vmtape replay": () => vmtape("replay", "first"),
    "vmtape --help": () => vmtape("--help"),
  };
  type Arm = keyof typeof arms;
  const seconds = Object.fromEntries(Object.keys(arms).map((arm) => [arm, [] as number[]])) as Record<
    Arm,
    number[]
  >;
  for (let round = 0; round < rounds; round++) {
    for (const [arm, start] of Object.entries(arms) as [Arm, () => Promise<{ seconds: number }>][]) {
      seconds[arm].push((await start()).seconds);
      process.stderr.write(`\r\x1b[Kround ${round + 1} of ${rounds}: ${arm} `);
    }
  }
  process.stderr.write("\r\x1b[K");
  const of = (arm: Arm) => median(seconds[arm]);
  const { icount, log, qemu } = JSON.parse((await vmtape("info", "t", "--json")).stdout) as Info;
  console.log(
    `${qemu.fullVersion}, default guest, ${icount.toLocaleString("en-US")} instructions, medians of ${rounds}\n`,
  );
  for (const arm of Object.keys(arms) as Arm[])
    console.log(`${arm.padEnd(22)}${of(arm).toFixed(3).padStart(8)} s`);
  // An arm's own overhead is the median of differences within a round: what slows one slows the other.
  const overhead = median(
    seconds["vmtape record"].map((value, i) => value - seconds["plain QEMU record"][i]!),
  );
  const ratio = (a: Arm, b: Arm) => median(seconds[a].map((value, i) => value / seconds[b][i]!));
  const rows: [string, number, string, number?][] = [
    ["recording / -icount alone (QEMU record)", ratio("plain QEMU record", "plain QEMU -icount"), "×", 1.25],
    ["recording / QEMU without icount", ratio("plain QEMU record", "plain QEMU"), "×"],
    ["vmtape record: start, finish and CLI on top", overhead, "s", 1.5],
    ["vmtape replay / vmtape record", ratio("vmtape replay", "vmtape record"), "×", 1.35],
    ["vmtape replay / plain QEMU replay", ratio("vmtape replay", "plain QEMU replay"), "×"],
    ["log bytes per 1000 instructions", (log.bytes / icount) * 1000, ""],
    ["vmtape --help", of("vmtape --help"), "s", 0.15],
  ];
  console.log();
  let met = true;
  for (const [what, value, unit, target] of rows) {
    const good = target === undefined || value <= target;
    met &&= good;
    const aim = target === undefined ? "" : `  target ≤ ${target} ${unit}${good ? "" : "  MISSED"}`;
    console.log(`${what.padEnd(46)}${value.toFixed(3).padStart(8)} ${unit.padEnd(2)}${aim}`);
  }
  return met;
}

try {
  process.exitCode = (await measure()) ? 0 : 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
