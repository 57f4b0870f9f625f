/**
 * Films against sessions that stop at each of their instants, at random windows of tapes (`exact`); and what they cost beside a
 * plain replay of the same stretch, and what steps back cost without them (`speed`).
 *
 *     node test/oracle/run.mjs bench/film.ts exact --tape NAME [--windows 20] [--length 5000] [--seed N] [--qemu PROGRAM]
 *     node test/oracle/run.mjs bench/film.ts speed --tape NAME [--at ICOUNT] [--qemu PROGRAM]
 */
import { parseArgs } from "node:util";
import { type Icount, icount } from "../src/base/units.js";
import { placesFrom, Tape, Timeline, timelineOptions } from "../src/index.js";
import { takeFilm } from "../src/replay/film/take.js";
import { CountedSession } from "../src/replay/session/counted-session.js";
import { compareFilm } from "../test/film-compare.js";
import { randomNumbers } from "../test/timeline-walk.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tape: { type: "string", default: "demo" },
    windows: { type: "string", default: "20" },
    length: { type: "string", default: "5000" },
    seed: { type: "string", default: "1" },
    at: { type: "string" },
    qemu: { type: "string", default: "qemu-system-x86_64" },
  },
});
const places = placesFrom(process.env);
const tape = await Tape.open(places, values.tape);
const options = await timelineOptions(places, tape, { qemu: [values.qemu] });

async function start(at: Icount): Promise<CountedSession> {
  const from = (await options.checkpoints()).findLast((one) => one.icount < at);
  const session = await CountedSession.start(tape, { ...options, from });
  await session.runTo({ icount: at });
  return session;
}

if (positionals[0] === "exact") await exact();
else if (positionals[0] === "speed") await speed();
else throw new Error("exact or speed");

async function exact(): Promise<void> {
  const random = randomNumbers(Number(values.seed));
  const length = Number(values.length);
  const sums = {
    instants: 0,
    vague: 0,
    undefinedFlags: 0,
    pages: 0,
    unsurePages: 0,
    deliveries: 0,
    wrong: 0,
  };
  for (let i = 0; i < Number(values.windows); i++) {
    const from = BigInt(random(Number(tape.end.at) - length - 1));
    const { wrong, ...seen } = await compareFilm(tape, start, { from, length }, random, 32);
    for (const [name, count] of Object.entries(seen)) sums[name as keyof typeof seen] += count;
    sums.wrong += wrong.length;
    for (const one of wrong) console.log(`@${from}: ${one}`);
    process.stderr.write(`${i + 1} windows, ${sums.instants} instants\n`);
  }
  console.log(JSON.stringify(sums));
  if (sums.wrong > 0) process.exitCode = 1;
}

async function speed(): Promise<void> {
  const at = BigInt(values.at ?? (tape.end.at * 9n) / 10n);
  const filmed = 100_000n;
  const rounds: { start: number; plain: number; film: number }[] = [];
  for (let i = 0; i < 5; i++) {
    const from = (await options.checkpoints()).findLast((one) => one.icount < at);
    const start = await milliseconds(async () => {
      await using _ = await CountedSession.start(tape, { ...options, from });
    });
    await using plain = await startAt(at);
    const way = await milliseconds(() => plain.runTo({ icount: icount(at + filmed) }));
    await using filming = await startAt(at);
    const film = await milliseconds(() => takeFilm(filming, { to: icount(at + filmed) }));
    rounds.push({ start, plain: way, film });
  }
  const [start, plain, film] = [median(rounds, "start"), median(rounds, "plain"), median(rounds, "film")];
  console.log(
    `session start ${start.toFixed(0)} ms, plain replay of ${filmed} instructions ${plain.toFixed(1)} ms`,
  );
  console.log(
    `film of them ${film.toFixed(0)} ms: ${((film - start) / plain).toFixed(1)} x the plain replay plus a start`,
  );
  const without = await stepsBack(at, 0, 20);
  const first = await stepsBack(at, undefined, 20_000);
  console.log(
    `steps back: ${first.toFixed(0)} a second in films, ${without.toFixed(1)} without: ${(first / without).toFixed(0)} x`,
  );
}

async function startAt(at: bigint): Promise<CountedSession> {
  return start(icount(at));
}

/** Steps back one at a time, in a second; with films after the first one was taken. */
async function stepsBack(at: bigint, filmBytes: number | undefined, count: number): Promise<number> {
  await using timeline = await Timeline.open(tape, { ...options, filmBytes, from: { icount: icount(at) } });
  await timeline.stepBack(filmBytes === 0 ? 1 : 100); // waits for a film, where there are any
  const spent = await milliseconds(async () => {
    for (let i = 0; i < count; i++) await timeline.stepBack();
  });
  return (count / spent) * 1000;
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

function median<T>(rows: readonly T[], of: keyof T): number {
  return rows.map((row) => Number(row[of])).sort((a, b) => a - b)[rows.length >> 1]!;
}
