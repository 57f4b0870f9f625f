/** Records a scenario, and checks its tape in several ways. */
import { openFileSource } from "../../src/base/byte-source.js";
import { icount } from "../../src/base/units.js";
import { dialectFor } from "../../src/formats/replay-log-dialect.js";
import { ReplayLogScanner } from "../../src/formats/replay-log-scanner.js";
import { buildPlugin, guardOf } from "../../src/qemu/plugin-build.js";
import { Session } from "../../src/replay/session/session.js";
import { Timeline } from "../../src/replay/timeline/timeline.js";
import { timelineOptions } from "../../src/replay/timeline/timeline-options.js";
import type { Tape } from "../../src/tape/tape.js";
import { guestArguments } from "../cloud-boot.js";
import type { Workbench } from "../workbench.js";
import type { Scenario, Stage } from "./scenarios.js";

/**
 * Records a scenario. Returns a text that tells how long the tape is.
 *
 * @throws when it does not end as expected, or its console lacks the expected text
 */
export async function recordScenario(scenario: Scenario, stage: Stage): Promise<string> {
  const { bench, name } = stage;
  const command = scenario.run && `vmtape.run="${scenario.run(stage)}"`;
  const args = ["record", name, "-c", "--timeout", String(scenario.timeout ?? 240)];
  const append = [scenario.append, command].filter(Boolean).join(" ");
  if (stage.guest) args.push(...guestArguments(stage.guest, append));
  else if (append !== "") args.push("--append", append);
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

/** The answer of `vmtape verify --json`. */
export interface Report {
  readonly ok: boolean;
  readonly states: readonly {
    readonly icount: number;
    readonly registers: string;
    readonly memory: string;
  }[];
  readonly divergence?: { readonly what: string; readonly icount: number; readonly expected?: string };
}

/** Verifies a tape. Throws when that is refused, but not when a replay diverges. */
export async function verifyTape(bench: Workbench, name: string): Promise<Report> {
  const { stdout, stderr } = await bench.run(["verify", name, "--json"]);
  if (stdout === "") throw new Error(`verify: ${stderr.slice(-300)}`);
  return JSON.parse(stdout) as Report;
}

/** Stops where the log has events, goes on each time, and ends in the state that `verify` saw. */
export async function stopOften(
  tape: Tape,
  bench: Workbench,
  report: Report,
  { count, random, qemu }: { count: number; random: (below: number) => number; qemu?: readonly string[] },
): Promise<string> {
  const plugin = await buildPlugin({
    cacheDir: bench.places.cache,
    qemuVersion: tape.manifest.qemu.version,
  });
  const all: number[] = [];
  {
    await using source = await openFileSource(tape.layout.log);
    const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
    while (await scanner.next()) {
      const { icounts } = scanner.batch;
      for (let i = 0; i < scanner.batch.count; i++)
        if (icounts[i] !== all.at(-1) && icounts[i]! > 0 && icounts[i]! < tape.end.at) all.push(icounts[i]!);
    }
  }
  const stops = new Set<number>();
  while (stops.size < Math.min(count, all.length)) stops.add(all[random(all.length)]!);
  await using session = await Session.create(tape, { ...(qemu && { qemu }), guard: guardOf(plugin) });
  await session.start();
  for (const at of [...stops].sort((a, b) => a - b)) await session.runTo(icount(at));
  const { at } = await session.runToEnd();
  const { registers, memory } = await session.hashState();
  const end = report.states.at(-1)!;
  if (at !== tape.end.at || registers !== end.registers || memory !== end.memory)
    throw new Error(`after ${stops.size} stops the end is another one`);
  return `${stops.size} stops`;
}

/** Goes back from the end, step by step, and forward again. */
export async function goBack(tape: Tape, bench: Workbench, qemu?: readonly string[]): Promise<string> {
  await using timeline = await Timeline.open(
    tape,
    await timelineOptions(bench.places, tape, qemu && { qemu }),
  );
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
