/**
 * What do views cost? The profile, coverage and walk of a branch log beside a plain replay of its tape, and questions to
 * the levels of a made tape of 1e12 instructions and 1e11 branches.
 *
 *     node test/oracle/run.mjs bench/views.ts NAME LOG
 *
 * NAME is a tape of the home, LOG what `vmtape trace NAME --all -o LOG` wrote. Seconds are the processor's, for the machine
 * may be shared; of a replay those of QEMU.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { icount, placesFrom, Tape } from "../src/index.js";
import { plainReplayCommand } from "../src/replay/session/plain-command.js";
import { coverLog } from "../src/survey/tape-coverage.js";
import { followLog } from "../src/survey/tape-profile.js";
import { BranchLog } from "../src/trace/branch-log.js";
import { LevelsBuilder } from "../src/views/levels.js";
import { Profile } from "../src/views/profile.js";

const [name, file] = process.argv.slice(2);

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function measured<T>(work: () => Promise<T> | T): Promise<{ value: T; seconds: number }> {
  const before = processorSeconds();
  const value = await work();
  return { value, seconds: processorSeconds() - before };
}

if (name !== undefined && file !== undefined) {
  const tape = await Tape.open(placesFrom(process.env), name);
  await using log = await BranchLog.open(file);
  const argv = await plainReplayCommand(tape);
  const script = '"$@" >/dev/null 2>&1; times';
  const child = spawn("bash", ["-c", script, "replay", ...argv], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  await once(child, "close");
  const times = [
    ...text
      .trim()
      .split("\n")
      .at(-1)!
      .matchAll(/(\d+)m([\d.]+)s/g),
  ];
  const replay = times.reduce((sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds), 0);
  console.log(`plain replay of ${icount(tape.end.at)} instructions: ${replay.toFixed(1)} s`);
  const followed = await measured(() => followLog(log, {}));
  const profile = Profile.of(followed.value);
  if (profile.instructions !== Number(tape.end.at)) throw new Error("the profile is not the tape's");
  const say = (what: string, seconds: number) =>
    console.log(`${what}: ${seconds.toFixed(1)} s, ${(seconds / replay).toFixed(2)} x the replay`);
  say("profile", followed.seconds);
  say("coverage", (await measured(() => coverLog(log))).seconds);
}

const builder = new LevelsBuilder(1e12);
const pieces = 1_000_000;
for (let i = 0; i < pieces; i++) {
  const [from, to] = [(i * 1e12) / pieces, ((i + 1) * 1e12) / pieces];
  builder.addRun(i % 50, i % 3 ? "kernel" : "user", from, to);
  builder.add("branches", from, 1e5);
}
const levels = builder.finish();
let slowest = 0;
for (let zoom = 1e12; zoom > 1e7; zoom /= 1.5) {
  const before = performance.now();
  levels.query(zoom / 3, zoom / 3 + zoom / 2, 3840);
  slowest = Math.max(slowest, performance.now() - before);
}
console.log(`levels of 1e12 instructions: slowest query ${slowest.toFixed(2)} ms`);
console.log(`memory: ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`);
