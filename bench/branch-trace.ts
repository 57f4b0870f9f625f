/**
 * What does it cost to follow every branch? One tape, run side by side several times in one go; the least of each:
 *
 * - a plain replay, by QEMU alone;
 * - the same with the plugin counting only;
 * - `vmtape trace --all`: the full log, compressed, on disk, with our own process's memory;
 * - the same with `--jobs 2`, when the tape has checkpoints that know their brctr (`vmtape index`);
 * - QEMU's own `-d exec,nochain` for a few seconds, to set beside it;
 * - then two guests that compute and that make system calls: the stretch of their work alone, from a checkpoint.
 *
 *     node test/oracle/run.mjs bench/branch-trace.ts [--qemu PROGRAM] [--tape DIRECTORY] [--rounds N]
 *
 * Without `--tape` the default guest's boot is recorded first. About a minute a round; a busy machine spoils the ratios.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import { measureWindow, workloads } from "./branch-windows.js";

const program = join(dirname(fileURLToPath(import.meta.url)), "../dist/cli/main.js");
const { values } = parseArgs({
  options: {
    qemu: { type: "string", default: "qemu-system-x86_64" },
    tape: { type: "string" },
    rounds: { type: "string", default: "3" },
  },
});

interface Run {
  readonly seconds: number;
  /** Most memory the process itself held, MB. */
  readonly megabytes: number;
  readonly output: string;
}

const directory = await mkdtemp(join(tmpdir(), "vmtape-branch-trace-"));
const homes = {
  VMTAPE_HOME: directory,
  XDG_CACHE_HOME: join(directory, "cache"),
  VMTAPE_QEMU: values.qemu,
};
try {
  await measure();
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const dir = values.tape ?? join(directory, "boot");
  const at = ["boot", "--dir", dir];
  if (values.tape === undefined) await vmtape("record", ...at);
  const info = JSON.parse((await vmtape("info", ...at)).output);
  const replay = info.replayCommand as string[];
  const plugin = await buildPlugin({ cacheDir: directory, qemuVersion: info.qemu.version });
  const log = join(directory, "whole.branches");
  const ways: Record<string, () => Promise<Run>> = {
    "plain replay": () => run(replay[0]!, replay.slice(1)),
    "counting only": () => run(replay[0]!, [...replay.slice(1), "-plugin", `${plugin},summary=on`]),
    "vmtape replay": () => vmtape("replay", ...at),
    "vmtape trace --count-only": () => vmtape("trace", ...at, "--all", "--count-only"),
    "full log": () => vmtape("trace", ...at, "--all", "-o", log),
  };
  const least = new Map<string, Run>();
  const runAll = async (names: readonly string[]) => {
    for (const name of names) {
      await rm(log, { force: true });
      const result = await ways[name]!();
      const before = least.get(name);
      if (before === undefined || result.seconds < before.seconds) least.set(name, result);
    }
  };
  for (let round = 0; round < Number(values.rounds); round++) await runAll(Object.keys(ways));
  const { size } = await stat(log);
  const { records } = JSON.parse(least.get("full log")!.output);
  await vmtape("index", ...at);
  ways["full log, --jobs 2"] = () => vmtape("trace", ...at, "--all", "--jobs", "2", "-o", log);
  for (let round = 0; round < Number(values.rounds); round++)
    await runAll(["full log", "full log, --jobs 2"]);

  const plain = least.get("plain replay")!.seconds;
  const rate = Number(records) / plain;
  console.log(`${info.icount} instructions, ${records} branches, QEMU ${info.qemu.version}`);
  for (const [name, { seconds, megabytes }] of least) {
    const memory = name.startsWith("full") ? `  ${megabytes} MB of our own` : "";
    console.log(`${name.padEnd(26)} ${seconds.toFixed(2)} s  ${(seconds / plain).toFixed(2)} x${memory}`);
  }
  const together = least.get("full log")!.seconds / least.get("full log, --jobs 2")!.seconds;
  console.log(`--jobs 2 is ${together.toFixed(2)} x faster than one`);
  console.log(`${(size / Number(records)).toFixed(4)} bytes a branch, ${size} bytes`);
  await measureExecLog(replay, rate);
  for (const [name, command] of Object.entries(workloads)) await measureWorkload(name, command);
}

/** The later part of a guest that does one kind of work. */
async function measureWorkload(name: string, command: string): Promise<void> {
  const at = ["work", "--dir", join(directory, name)];
  await vmtape("record", ...at, "--append", `vmtape.run="${command}"`);
  await vmtape("index", ...at);
  const times = await measureWindow(join(directory, name), {
    rounds: Number(values.rounds),
    output: join(directory, "window.branches"),
    qemu: values.qemu,
    environment: { ...process.env, ...homes },
  });
  const { plain, counting, log, instructions, branches, bytes } = times;
  console.log(
    `${name}: ${instructions} instructions, ${branches} branches in ${plain.toFixed(2)} s; ` +
      `counting ${(counting / plain).toFixed(2)} x, full log ${(log / plain).toFixed(2)} x, ` +
      `${(bytes / branches).toFixed(4)} bytes a branch`,
  );
}

/** QEMU's own log of blocks, stopped after a few seconds: a line a block. */
async function measureExecLog(replay: readonly string[], branchesPerSecond: number): Promise<void> {
  const file = join(directory, "exec.log");
  const child = spawn(replay[0]!, [...replay.slice(1), "-d", "exec,nochain", "-D", file], {
    stdio: "ignore",
  });
  const seconds = 5;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  const { size } = await stat(file);
  const sample = (await readFile(file)).subarray(0, 1 << 20);
  const bytesPerLine = sample.length / sample.filter((byte) => byte === 10).length;
  const slower = (branchesPerSecond * seconds) / (size / bytesPerLine);
  console.log(
    `-d exec,nochain            about ${slower.toFixed(0)} x a plain replay, ${bytesPerLine.toFixed(0)} bytes a block`,
  );
}

function vmtape(...args: string[]): Promise<Run> {
  return run(process.execPath, [program, ...args, "--json"], homes);
}

async function run(
  file: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<Run> {
  const begun = performance.now();
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  let megabytes = 0;
  const watch = setInterval(async () => {
    megabytes = Math.max(megabytes, await peakMegabytes(child));
  }, 250);
  const [code] = (await once(child, "close")) as [number | null];
  clearInterval(watch);
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${code}`);
  return { seconds: (performance.now() - begun) / 1000, megabytes, output };
}

async function peakMegabytes(child: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
