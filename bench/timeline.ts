/**
 * Anywhere in time: how long it takes to get there. One indexed tape; medians, and the 95th percentile where it counts:
 *
 * - `goTo` a random instant;
 * - `reverse-stepi` after a far jump, once near, and a thousand in a row;
 * - `reverse-continue` to a hit 1e8 instructions back, and over the whole tape without a hit, beside a plain replay;
 * - a breakpoint that is hit a million times with a condition that holds once, beside a plain replay of the stretch;
 * - who wrote these bytes last, 1e8 instructions back, beside a plain replay of the stretch;
 * - QEMU's own reverse debugging of the same tape, as a peer: one `reverse-stepi`, given up after two minutes.
 *
 *     node test/oracle/run.mjs bench/timeline.ts --tape DIRECTORY [--qemu PROGRAM] [--samples 50] [--steps 1000] [--no-peer]
 *
 * The tape must have been indexed (`vmtape index`). A busy machine spoils the ratios.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runTool } from "../src/base/tool.js";
import { guestAddress, icount, physicalAddress } from "../src/base/units.js";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import { TapeIndex } from "../src/replay/index/tape-index.js";
import { plainReplayCommand } from "../src/replay/session/plain-command.js";
import { Session } from "../src/replay/session/session.js";
import { tapeCache } from "../src/replay/session/tape-cache.js";
import { pastOf } from "../src/replay/timeline/last-write.js";
import { Timeline } from "../src/replay/timeline/timeline.js";
import { placesFrom } from "../src/tape/home.js";
import { Tape } from "../src/tape/tape.js";
import { ExpressionBuilder } from "../test/formats/agent-expression.js";
import { ReplayProcess } from "../test/oracle/replay-process.js";
import { randomNumbers } from "../test/timeline-walk.js";

const { values } = parseArgs({
  options: {
    tape: { type: "string" },
    qemu: { type: "string", default: "qemu-system-x86_64" },
    samples: { type: "string", default: "50" },
    steps: { type: "string", default: "1000" },
    peer: { type: "boolean", default: true },
    "only-peer": { type: "boolean", default: false },
  },
  allowNegative: true,
});
if (values.tape === undefined) throw new Error("--tape DIRECTORY is needed");

const places = placesFrom(process.env);
const tape = await Tape.open(places, "tape", values.tape);
const cache = tapeCache(places, tape);
const index = await TapeIndex.open(cache, tape.manifest.qemu);
const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
const qemu = [values.qemu];
const end = Number(tape.end.at);
const samples = Number(values.samples);
const random = randomNumbers(7);
const far = 100_000_000;
console.log(
  `${end} instructions, ${index.checkpoints.length} checkpoints, QEMU ${tape.manifest.qemu.version}`,
);

await using timeline = await Timeline.open(tape, {
  plugin,
  cache,
  qemu,
  trusted: true,
  checkpoints: async () => {
    await index.refresh();
    return index.checkpoints;
  },
});
let whole = 0;
if (!values["only-peer"]) {
  await seeks();
  await steps();
  whole = await plainSeconds(0, end);
  await runs();
  await conditions();
  await lastWrites();
}
if (values.peer) await peer();

async function seeks(): Promise<void> {
  const took: number[] = [];
  for (let i = 0; i < samples; i++)
    took.push(await timed(() => timeline.goTo({ icount: icount(random(end)) })));
  report("goTo a random instant", took, "0.5 s, 95th percentile 1 s");
}

async function steps(): Promise<void> {
  const first: number[] = [];
  const near: number[] = [];
  for (let i = 0; i < samples; i++) {
    await timeline.goTo({ icount: icount(1e8 + random(end - 1e8)) });
    first.push(await timed(() => timeline.stepBack()));
    for (let j = 0; j < 5; j++) await timeline.stepBack();
    near.push(await timed(() => timeline.stepBack()));
  }
  report("reverse-stepi after a far jump", first, "0.7 s");
  report("reverse-stepi once near", near, "0.1 s");
  const count = Number(values.steps);
  const seconds = await timed(async () => {
    for (let i = 0; i < count; i++) await timeline.stepBack();
  });
  console.log(`${count} reverse steps in a row: ${(count / seconds).toFixed(1)} a second (target 20)`);
}

async function runs(): Promise<void> {
  const took: number[] = [];
  for (let i = 0; i < Math.min(samples, 10); i++) {
    const from = 2e8 + random(end - 2e8);
    await timeline.goTo({ icount: icount(from - far) });
    const hit = timeline.position;
    // The last time this place ran before: some 1e8 instructions back, or nearer.
    const id = timeline.addPoint({ kind: "execute", address: hit.pc, condition: before(from - far + 1) });
    await timeline.goTo({ icount: icount(from) });
    took.push(await timed(() => timeline.run("back")));
    timeline.removePoint(id);
    if (timeline.position.icount !== hit.icount) throw new Error(`stopped at @${timeline.position.icount}`);
  }
  report("reverse-continue to a hit 1e8 back", took, "1.5 s");
  await timeline.goTo({ icount: tape.end.at });
  const id = timeline.addPoint({ kind: "execute", address: guestAddress(0x1234567n) });
  const seconds = await timed(() => timeline.run("back"));
  timeline.removePoint(id);
  console.log(
    `reverse-continue over the whole tape, no hit: ${ratio(seconds, whole)} plain replay (target 1.2)`,
  );
}

async function conditions(): Promise<void> {
  // The busiest place of a stretch: where a tight loop is found by looking at a few instants of it.
  const from = Math.floor(end * 0.5);
  const to = from + far;
  await timeline.goTo({ icount: icount(from) });
  const { pc } = timeline.position;
  const plain = await plainSeconds(from, to);
  for (const [name, condition] of [
    ["on position", before(1)],
    ["on a register", never()],
  ] as const) {
    await timeline.goTo({ icount: icount(from) });
    const id = timeline.addPoint({ kind: "execute", address: pc, condition });
    const seconds = await timed(() => timeline.runTo(icount(to)));
    timeline.removePoint(id);
    const all = await hitCount(pc, from, to);
    console.log(
      `a breakpoint met ${all} times in 1e8, condition ${name}: ${ratio(seconds, plain)} plain replay (target 3)`,
    );
  }
}

async function hitCount(pc: bigint, from: number, to: number): Promise<number> {
  await timeline.goTo({ icount: icount(to) });
  const point = { kind: "execute", address: guestAddress(pc) } as const;
  return (await timeline.meetings([point], { earliest: icount(from), most: 10_000_000 })).length;
}

async function lastWrites(): Promise<void> {
  const at = Math.floor(end * 0.9);
  await timeline.goTo({ icount: icount(at) });
  const plain = await plainSeconds(at - far, at);
  const nowhere = { space: "physical", address: physicalAddress(0x500), length: 8 } as const;
  const seconds = await timed(() => pastOf(timeline, nowhere, { since: icount(at - far) }));
  console.log(
    `all writes to 8 bytes over 1e8 instructions: ${ratio(seconds, plain)} plain replay (target 10)`,
  );
}

/** A condition on the instruction count. */
function before(limit: number): Uint8Array {
  return new ExpressionBuilder().op("icount").constant(BigInt(limit)).op("less_unsigned").op("end").bytes();
}

/** A condition on rip that never holds. */
function never(): Uint8Array {
  return new ExpressionBuilder().op("reg", 16).constant(1n).op("equal").op("end").bytes();
}

/** A plain session, without a plugin, over a stretch; from a checkpoint when it does not begin at 0. */
async function plainSeconds(from: number, to: number): Promise<number> {
  const start = index.nearest(icount(from));
  await using session = await Session.create(tape, { qemu, trusted: true, ...(start && { from: start }) });
  await session.start();
  await session.runTo(icount(Math.max(from, 1)));
  return await timed(() => (to === end ? session.runToEnd() : session.runTo(icount(to))));
}

/** QEMU by itself: a snapshot at the beginning, and its stub's own way back. */
async function peer(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "vmtape-peer-"));
  try {
    const image = join(directory, "snapshots.qcow2");
    await runTool("qemu-img", ["create", "-q", "-f", "qcow2", image, "1M"]);
    // QEMU saves a snapshot for itself when a debugger is attached, if there is somewhere to save it.
    const argv = [...(await plainReplayCommand(tape, qemu)), "-drive", `file=${image},if=none,id=rr`];
    await using process = await ReplayProcess.start(argv);
    const at = Math.floor(end * 0.9);
    await process.runTo(at);
    let answered = true;
    const seconds = await timed(async () => {
      answered = await Promise.race([
        process.gdb.request("bs").then(() => true),
        new Promise<boolean>((resolve) => setTimeout(resolve, 120_000, false)),
      ]);
    });
    console.log(
      `QEMU's own reverse-stepi at 90 %: ${answered ? `${seconds.toFixed(1)} s` : "no answer in 120 s"}`,
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function report(what: string, seconds: readonly number[], target: string): void {
  const sorted = [...seconds].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!.toFixed(3);
  console.log(
    `${what}: median ${at(0.5)} s, 95th percentile ${at(0.95)} s, of ${sorted.length} (target ${target})`,
  );
}

function ratio(seconds: number, plain: number): string {
  return `${seconds.toFixed(2)} s, ${(seconds / plain).toFixed(2)} x`;
}
