/**
 * Is the past always the same? A timeline walks about a tape at random: it goes to instants, steps, runs to breakpoints
 * and watchpoints, both ways. At each stop its registers and RAM are compared with those of one straight run of a plain
 * QEMU. On request its QEMUs are killed at random moments, or two busy loops take the processors.
 *
 *     node test/oracle/run.mjs bench/timeline-walks.ts --tape DIRECTORY [--qemu PROGRAM] [--moves 500] [--seed N]
 *                              [--reach INSTRUCTIONS] [--kill] [--load]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import { TapeIndex } from "../src/replay/index/tape-index.js";
import { plainReplayCommand } from "../src/replay/session/plain-command.js";
import { tapeCache } from "../src/replay/session/tape-cache.js";
import { Timeline } from "../src/replay/timeline/timeline.js";
import { placesFrom } from "../src/tape/home.js";
import { Tape } from "../src/tape/tape.js";
import { judgeStops, randomNumbers, type Stop, walk } from "../test/timeline-walk.js";

const { values } = parseArgs({
  options: {
    tape: { type: "string" },
    qemu: { type: "string", default: "qemu-system-x86_64" },
    moves: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    reach: { type: "string", default: "100000000" },
    kill: { type: "boolean", default: false },
    load: { type: "boolean", default: false },
  },
});
if (values.tape === undefined) throw new Error("--tape DIRECTORY is needed");

const places = placesFrom(process.env);
const tape = await Tape.open(places, "tape", values.tape);
const cache = tapeCache(places, tape);
const index = await TapeIndex.open(cache, tape.manifest.qemu);
const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
const loops: ChildProcess[] = [];
if (values.load) {
  for (let i = 0; i < 2; i++) loops.push(spawn(process.execPath, ["-e", "for (;;) {}"], { stdio: "ignore" }));
}
const stops: Stop[] = [];
const started = performance.now();
let killed = 0;
try {
  await using timeline = await Timeline.open(tape, {
    plugin,
    cache,
    qemu: [values.qemu],
    checkpoints: async () => {
      await index.refresh();
      return index.checkpoints;
    },
  });
  const random = randomNumbers(Number(values.seed) + 1);
  // At most one a move: a move that is never left alone never ends.
  const between = () => {
    if (values.kill && random(2) === 0) setTimeout(() => kill(timeline), random(600));
  };
  for await (const stop of walk(timeline, {
    seed: Number(values.seed),
    moves: Number(values.moves),
    reach: Number(values.reach),
    between,
  })) {
    stops.push(stop);
    if (stops.length % 25 === 0) process.stderr.write(`${stops.length} moves, ${seconds()} s\n`);
  }
} finally {
  for (const loop of loops) loop.kill("SIGKILL");
}
console.log(`${stops.length} moves in ${seconds()} s, ${killed} QEMUs killed on the way`);
const wrong = await judgeStops(
  await plainReplayCommand(tape, [values.qemu]),
  tape.machine.memoryMB,
  stops,
  (done) => {
    if (done % 50 === 0) process.stderr.write(`${done} judged\n`);
  },
);
for (const line of wrong) console.log(line);
console.log(`${stops.length} stops compared with a straight run: ${wrong.length} mismatches`);
process.exitCode = wrong.length === 0 ? 0 : 1;

function seconds(): string {
  return ((performance.now() - started) / 1000).toFixed(1);
}

/** Ends the QEMU of the timeline's present session, as somebody else would. */
function kill(timeline: Timeline): void {
  const { pid } = timeline;
  if (pid === undefined) return;
  try {
    process.kill(pid, "SIGKILL");
    killed++;
  } catch {
    // it was about to be replaced
  }
}
