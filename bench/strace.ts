/**
 * What does `strace` of a whole tape cost? The default guest is recorded, or a tape named, and replayed in turns, the
 * least of each: without anything, with every system call told (strings, structures, results), and the same while the
 * tape's tasks are learned in passing, as the first `vmtape strace` of a tape does.
 *
 *     node test/oracle/run.mjs bench/strace.ts [--tape NAME] [--qemu PROGRAM] [--rounds N]
 *
 * About 40 s a round; a busy machine spoils the ratios.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeGuest } from "../src/guest/guest.js";
import { loadLinuxKernel } from "../src/linux/guest/linux-kernel.js";
import { TapeSymbols } from "../src/linux/names/tape-symbols.js";
import { probeNamesOf } from "../src/linux/pass/probe-names.js";
import { TaskLearner } from "../src/linux/pass/task-pass.js";
import { syscallKernel } from "../src/linux/probe/guest-timeline.js";
import { syscallEvents } from "../src/linux/syscall/pass.js";
import { inspectQemu } from "../src/qemu/build.js";
import { Session } from "../src/replay/session/session.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { placesFrom } from "../src/tape/home.js";
import { defaultRecordOptions } from "../src/tape/record-options.js";
import { record } from "../src/tape/recording.js";
import { Tape } from "../src/tape/tape.js";

const { values } = parseArgs({
  options: {
    tape: { type: "string" },
    qemu: { type: "string", default: "qemu-system-x86_64" },
    rounds: { type: "string", default: "3" },
  },
});
const qemu = [values.qemu];
const scratch = await mkdtemp(join(tmpdir(), "vmtape-strace-"));
try {
  await main();
} finally {
  await rm(scratch, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const tape =
    values.tape === undefined ? await recordDefault() : await Tape.open(placesFrom(process.env), values.tape);
  const { plugin, cache } = await timelineOptions({ ...placesFrom(process.env), cache: scratch }, tape, {
    qemu,
  });
  const symbols = await TapeSymbols.load(tape, { cache, qemu });
  const linux = loadLinuxKernel(tape.layout.kernel);
  if (!linux || !symbols.place) throw new Error("the tape holds no Linux that runs");
  const kernel = syscallKernel(tape, linux, probeNamesOf(symbols, linux));
  const follow = async (learner?: TaskLearner) => {
    let calls = 0;
    for await (const event of syscallEvents(tape, kernel, { plugin, qemu, ...(learner && { learner }) })) {
      if (event.kind === "call") calls++;
    }
    await learner?.finish(tape);
    return calls;
  };
  const least = {
    plain: Number.POSITIVE_INFINITY,
    strace: Number.POSITIVE_INFINITY,
    first: Number.POSITIVE_INFINITY,
  };
  let calls = 0;
  for (let round = 0; round < Number(values.rounds); round++) {
    least.plain = Math.min(least.plain, await seconds(() => plainReplay(tape)));
    least.strace = Math.min(
      least.strace,
      await seconds(async () => {
        calls = await follow();
      }),
    );
    const learner = new TaskLearner(linux, symbols.place);
    least.first = Math.min(least.first, await seconds(() => follow(learner)));
  }
  const line = (name: string, time: number) =>
    console.log(`${name.padEnd(36)} ${time.toFixed(2)} s  ${(time / least.plain).toFixed(2)} x`);
  console.log(`${tape.end.at} instructions, ${calls} system calls, QEMU ${tape.manifest.qemu.version}`);
  line("plain replay", least.plain);
  line("strace", least.strace);
  line("strace, tasks learned in passing", least.first);
}

async function recordDefault(): Promise<Tape> {
  const { cache } = placesFrom(process.env);
  const { kernel, initrd, append } = await makeGuest({ cacheDir: cache });
  const places = { home: join(scratch, "home"), cache: scratch, runtime: join(scratch, "run") };
  const options = { ...(await defaultRecordOptions("boot")), kernel, initrd, append };
  return (await record(places, { ...options, qemu: await inspectQemu(values.qemu) })).done;
}

async function plainReplay(tape: Tape): Promise<void> {
  await using session = await Session.create(tape, { trusted: true, qemu });
  await session.start();
  await session.runToEnd();
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}
