/**
 * What an index costs and what it gives, on the default guest: one pass that counts beside one that does not,
 * interleaved; checkpoints, their bytes, and how long a session takes to start from one.
 *
 *     npm run bench index [-- --rounds N] [-- --starts N] [-- --qemu PROGRAM] [-- --tape DIRECTORY]
 *
 * Fails when a target of the project is missed.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import { indexTape } from "../src/replay/index/tape.js";
import type { CountedCheckpoint } from "../src/replay/session/checkpoint.js";
import { CountedSession } from "../src/replay/session/counted-session.js";
import { Session } from "../src/replay/session/session.js";
import { Tape } from "../src/tape/tape.js";

const program = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    starts: { type: "string", default: "50" },
    qemu: { type: "string" },
    tape: { type: "string" },
  },
});
const targets = { counting: 1.15, bytes: 1.5e9, start: 50 };
const qemu = [values.qemu ?? process.env.VMTAPE_QEMU ?? "qemu-system-x86_64"];
const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));

function record(): Promise<string> {
  const home = join(directory, "home");
  const env = { ...process.env, VMTAPE_HOME: home, VMTAPE_QEMU: qemu[0] };
  const child = spawn(process.execPath, [program, "record", "boot", "--json"], {
    stdio: ["ignore", "ignore", "inherit"],
    env,
  });
  return new Promise((resolve, reject) => {
    child.once("close", (code) =>
      code === 0 ? resolve(join(home, "boot")) : reject(new Error(`recording ended with ${code}`)),
    );
  });
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

/** The value that a share of all lies below. */
function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
const median = (numbers: readonly number[]) => quantile(numbers, 0.5);

async function plainReplay(tape: Tape): Promise<void> {
  await using session = await Session.create(tape, { qemu, trusted: true });
  await session.start();
  await session.runToEnd();
}

async function startPlain(tape: Tape, from: CountedCheckpoint): Promise<number> {
  await using session = await Session.create(tape, { qemu, trusted: true, from });
  return await seconds(() => session.start());
}

async function startCounted(tape: Tape, from: CountedCheckpoint, plugin: string): Promise<number> {
  let session: CountedSession | undefined;
  const taken = await seconds(async () => {
    session = await CountedSession.start(tape, { qemu, plugin, from });
  });
  await session?.[Symbol.asyncDispose]();
  return taken;
}

async function measure(): Promise<boolean> {
  const tape = await Tape.openDirectory(values.tape ?? (await record()));
  const plugin = await buildPlugin({ cacheDir: directory, qemuVersion: tape.manifest.qemu.version });
  const times = { plain: [] as number[], counting: [] as number[], whole: [] as number[] };
  const empty = { cache: join(directory, "counting"), plugin, qemu, budget: 1 };
  const full = { cache: join(directory, "whole"), plugin, qemu };
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const { cache } of [empty, full]) await rm(cache, { recursive: true, force: true });
    times.plain.push(await seconds(() => plainReplay(tape)));
    times.counting.push(await seconds(() => indexTape(tape, empty)));
    times.whole.push(await seconds(() => indexTape(tape, full)));
  }
  const index = await indexTape(tape, full);
  const { checkpoints } = index;
  const starts = { plain: [] as number[], counted: [] as number[] };
  for (let start = 0; start < Number(values.starts); start++) {
    const from = checkpoints[(start * 7) % checkpoints.length]!;
    starts.plain.push((await startPlain(tape, from)) * 1000);
    starts.counted.push((await startCounted(tape, from, plugin)) * 1000);
  }
  const ratio = median(times.counting) / median(times.plain);
  const each = ((median(times.whole) - median(times.counting)) / checkpoints.length) * 1000;
  const gaps = [...checkpoints.map((one) => one.icount), tape.end.at].map((at, i) =>
    Number(at - (checkpoints[i - 1]?.icount ?? 0n)),
  );
  const say = (line: string) => process.stdout.write(`${line}\n`);
  say(`${tape.manifest.qemu.fullVersion}; ${tape.end.at} instructions, ${tape.machine.memoryMB} MB`);
  say(`plain replay               ${median(times.plain).toFixed(2)} s`);
  say(
    `index without checkpoints  ${median(times.counting).toFixed(2)} s: ${ratio.toFixed(2)} (target ${targets.counting})`,
  );
  say(`index                      ${median(times.whole).toFixed(2)} s: ${each.toFixed(0)} ms a checkpoint`);
  say(`rows                       ${index.rowCount}`);
  say(
    `checkpoints                ${checkpoints.length}, ${(index.bytes / 1e9).toFixed(2)} GB (target ${targets.bytes / 1e9}), at most ${(Math.max(...gaps) / 1e6).toFixed(0)} M instructions apart`,
  );
  for (const [what, all] of Object.entries(starts))
    say(
      `start, ${what.padEnd(19)} ${median(all).toFixed(1)} ms, 95 % ${quantile(all, 0.95).toFixed(1)} ms, best ${quantile(all, 0).toFixed(1)} ms`,
    );
  return ratio <= targets.counting && index.bytes <= targets.bytes && median(starts.plain) <= targets.start;
}

try {
  if (!(await measure())) process.exitCode = 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
