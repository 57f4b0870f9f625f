/**
 * Does what was recorded replay, whatever the host does? Records guests that do everything that recordings were seen to
 * break on, beside busy loops or not, and asks each tape: does it verify; can it be stopped where its log has events, and
 * still end as it was recorded; does it index, and go backwards from its end? One line for each, then the counts. Fails
 * when any tape did not.
 *
 *     node test/oracle/run.mjs bench/replays.ts [--rounds N] [--only NAME]… [--busy LOOPS] [--jobs N] [--thorough] [--qemu PROGRAM]
 *
 * `--busy`: so many processes compute beside it all the time. `--thorough`: all questions to each tape; else each tape is
 * verified, and every third is asked the others. `--keep DIR`: tapes that fail are moved there.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openFileSource } from "../src/base/byte-source.js";
import { icount } from "../src/base/units.js";
import { dialectFor } from "../src/formats/replay-log-dialect.js";
import { ReplayLogScanner } from "../src/formats/replay-log-scanner.js";
import { buildPlugin, guardOf } from "../src/qemu/plugin-build.js";
import { Session } from "../src/replay/session/session.js";
import { Timeline } from "../src/replay/timeline/timeline.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { Tape } from "../src/tape/tape.js";
import { randomNumbers } from "../test/timeline-walk.js";
import { Workbench } from "../test/workbench.js";
import { type Hosts, startHosts } from "./replay-hosts.js";
import { type Scenario, scenarios, stageOf } from "./replay-scenarios.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "1" },
    only: { type: "string", multiple: true },
    busy: { type: "string", default: "0" },
    jobs: { type: "string", default: "1" },
    stops: { type: "string", default: "100" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    qemu: { type: "string" },
    keep: { type: "string" },
    results: { type: "string" },
    thorough: { type: "boolean", default: false },
  },
});
if (values.qemu !== undefined) process.env.VMTAPE_TEST_QEMU = values.qemu;
const random = randomNumbers(Number(values.seed));
const qemu = values.qemu === undefined ? {} : { qemu: [values.qemu] };

interface Result {
  readonly scenario: string;
  readonly recorded: string;
  readonly verify: string;
  readonly stops: string;
  readonly back: string;
}

async function recordOne(scenario: Scenario, bench: Workbench, name: string, hosts: Hosts): Promise<string> {
  const stage = await stageOf(bench, name, hosts);
  const command = scenario.run && `vmtape.run="${scenario.run(stage)}"`;
  const args = ["record", name, "-c", "--timeout", String(scenario.timeout ?? 240)];
  const append = [scenario.append, command].filter(Boolean).join(" ");
  if (append !== "") args.push("--append", append);
  if (scenario.memoryMB !== undefined) args.push("-M", String(scenario.memoryMB));
  const [http, other] = stage.ports;
  if (scenario.network)
    args.push("--net", `user,hostfwd=tcp:127.0.0.1:${http}-:80,hostfwd=tcp:127.0.0.1:${other}-:9`);
  for (const [i, size] of (scenario.disks ?? []).entries()) {
    const image = bench.path(`${name}-${i}.img`);
    await bench.spawn("truncate", ["-s", `${size}M`, image]).ended;
    await bench.spawn("/sbin/mkfs.ext4", ["-q", image]).ended;
    args.push("-L", image);
  }
  const recorder = bench.start(args);
  await scenario.host?.(recorder, stage);
  const { stdout, stderr } = await recorder.ended;
  const ends = scenario.ends ?? "power-off";
  if (ends === "repaired") await bench.run(["repair", name]);
  const info = await bench.json<{ state: string; cause: string; icount: number; witnesses: unknown[] }>([
    "info",
    name,
  ]);
  if (info.state !== "complete" || info.cause !== ends)
    throw new Error(`ended as ${info.state}, ${info.cause}: ${stderr.slice(-300)}`);
  if (!scenario.shows.test(stdout))
    throw new Error(`the console does not show ${scenario.shows}: ${stdout.slice(-300)}`);
  return `${(info.icount / 1e9).toFixed(2)}e9, ${info.witnesses.length} witnesses`;
}

interface Report {
  readonly ok: boolean;
  readonly states: readonly {
    readonly icount: number;
    readonly registers: string;
    readonly memory: string;
  }[];
  readonly divergence?: { readonly what: string; readonly icount: number; readonly expected?: string };
}

async function verify(bench: Workbench, name: string): Promise<Report> {
  const { stdout, stderr } = await bench.run(["verify", name, "--json"]);
  if (stdout === "") throw new Error(`verify: ${stderr.slice(-300)}`);
  return JSON.parse(stdout) as Report;
}

/** Stops where the log has events, goes on each time, and ends in the state that `verify` saw. */
async function stopOften(tape: Tape, bench: Workbench, report: Report): Promise<string> {
  const plugin = await buildPlugin({
    cacheDir: bench.places.cache,
    qemuVersion: tape.manifest.qemu.version,
  });
  const all: number[] = [];
  {
    await using source = await openFileSource(tape.layout.log);
    const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
    while (await scanner.next()) {
      const { count, icounts } = scanner.batch;
      for (let i = 0; i < count; i++)
        if (icounts[i] !== all.at(-1) && icounts[i]! > 0 && icounts[i]! < tape.end.at) all.push(icounts[i]!);
    }
  }
  const stops = new Set<number>();
  while (stops.size < Math.min(Number(values.stops), all.length)) stops.add(all[random(all.length)]!);
  await using session = await Session.create(tape, { ...qemu, guard: guardOf(plugin) });
  await session.start();
  for (const at of [...stops].sort((a, b) => a - b)) await session.runTo(icount(at));
  const { at } = await session.runToEnd();
  const { registers, memory } = await session.hashState();
  const end = report.states.at(-1)!;
  if (at !== tape.end.at || registers !== end.registers || memory !== end.memory)
    throw new Error(`after ${stops.size} stops the end is another one`);
  return `${stops.size} stops`;
}

/** From the end backwards, step by step, and forwards again. */
async function goBack(tape: Tape, bench: Workbench): Promise<string> {
  await using timeline = await Timeline.open(tape, await timelineOptions(bench.places, tape, qemu));
  await timeline.goTo({ icount: tape.end.at });
  const there = timeline.position;
  for (let i = 0; i < 5; i++) await timeline.stepBack();
  const before = timeline.position;
  for (let i = 0; i < 5; i++) await timeline.stepForward();
  const again = timeline.position;
  if (before.icount >= there.icount || again.icount !== there.icount || again.pc !== there.pc)
    throw new Error(`five steps back and forward lead to ${again.icount} from ${there.icount}`);
  return "back and forward";
}

let made = 0;
const counts = { recordings: 0, recorded: 0, verified: 0, asked: 0, stopped: 0, back: 0 };

async function ask(scenario: Scenario, bench: Workbench, hosts: Hosts): Promise<Result> {
  const number = ++made;
  const name = `${scenario.name}-${number}`;
  const failures: string[] = [];
  const attempt = async (what: string, action: () => Promise<string>): Promise<string> => {
    try {
      return await action();
    } catch (error) {
      failures.push(what);
      return `FAILED: ${error instanceof Error ? error.message : error}`;
    }
  };
  counts.recordings++;
  const result = { scenario: name, recorded: "", verify: "-", stops: "-", back: "-" };
  result.recorded = await attempt("record", () => recordOne(scenario, bench, name, hosts));
  if (failures.length === 0) {
    counts.recorded++;
    let report: Report | undefined;
    result.verify = await attempt("verify", async () => {
      report = await verify(bench, name);
      const { divergence } = report;
      if (!report.ok)
        throw new Error(`at ${divergence?.icount}: ${divergence?.what} (${divergence?.expected})`);
      return `${report.states.length} states`;
    });
    if (report?.ok) counts.verified++;
    if (report?.ok && (values.thorough || number % 3 === 0)) {
      counts.asked++;
      const tape = await Tape.open(bench.places, name);
      const { length } = failures;
      result.stops = await attempt("stops", () => stopOften(tape, bench, report!));
      if (failures.length === length) counts.stopped++;
      result.back = await attempt("back", async () => {
        await bench.json(["index", name, ...(values.qemu ? ["--qemu", values.qemu] : [])]);
        return goBack(tape, bench);
      });
      if (!failures.includes("back")) counts.back++;
    }
  }
  if (failures.length > 0 && values.keep !== undefined)
    await rename(bench.path("home", name), join(values.keep, `${name}-${Date.now()}`)).catch(() => {});
  else await bench.run(["destroy", name]);
  return result;
}

const loops: ChildProcess[] = [];
await using hosts = await startHosts();
await using bench = await Workbench.make();
try {
  for (let i = 0; i < Number(values.busy); i++)
    loops.push(spawn(process.execPath, ["-e", "for (;;) {}"], { stdio: "ignore" }));
  const wanted = scenarios.filter(({ name }) => !values.only || values.only.includes(name));
  const queue = Array.from({ length: Number(values.rounds) }, () => wanted).flat();
  await Promise.all(
    Array.from({ length: Number(values.jobs) }, async () => {
      for (let scenario = queue.shift(); scenario; scenario = queue.shift()) {
        const result = await ask(scenario, bench, hosts);
        const { recorded, verify: verified, stops, back } = result;
        console.log(
          `${result.scenario.padEnd(24)} ${recorded.padEnd(28)} ${verified.padEnd(12)} ${stops}  ${back}`,
        );
        if (values.results) await appendFile(values.results, `${JSON.stringify(result)}\n`);
      }
    }),
  );
  const { recordings, recorded, verified, asked, stopped, back } = counts;
  console.log(
    `\nseed ${values.seed}, ${values.busy} busy loops: ${recordings} recordings, ${recorded} recorded as wanted, ${verified} verify; ` +
      `of ${asked} asked more, ${stopped} stop anywhere, ${back} index and go backwards from their end`,
  );
  const whole = recorded === recordings && verified === recordings && stopped === asked && back === asked;
  process.exitCode = whole ? 0 : 1;
} finally {
  for (const loop of loops) loop.kill("SIGKILL");
}
