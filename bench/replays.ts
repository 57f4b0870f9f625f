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
import { Tape } from "../src/tape/tape.js";
import { type Hosts, startHosts } from "../test/recordings/hosts.js";
import { goBack, type Report, recordScenario, stopOften, verifyTape } from "../test/recordings/recorded.js";
import { type Scenario, scenarios, stageOf } from "../test/recordings/scenarios.js";
import { randomNumbers } from "../test/timeline-walk.js";
import { Workbench } from "../test/workbench.js";

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
const qemu = values.qemu === undefined ? undefined : [values.qemu];

interface Result {
  readonly scenario: string;
  readonly recorded: string;
  readonly verify: string;
  readonly stops: string;
  readonly back: string;
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
  result.recorded = await attempt("record", async () =>
    recordScenario(scenario, await stageOf(bench, name, hosts)),
  );
  if (failures.length === 0) {
    counts.recorded++;
    let report: Report | undefined;
    result.verify = await attempt("verify", async () => {
      report = await verifyTape(bench, name);
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
      result.stops = await attempt("stops", () =>
        stopOften(tape, bench, report!, { count: Number(values.stops), random, ...(qemu && { qemu }) }),
      );
      if (failures.length === length) counts.stopped++;
      result.back = await attempt("back", async () => {
        await bench.json(["index", name, ...(values.qemu ? ["--qemu", values.qemu] : [])]);
        return goBack(tape, bench, qemu);
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
