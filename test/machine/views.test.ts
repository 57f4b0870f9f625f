import { afterAll, beforeAll, expect, test } from "vitest";
import { GuestTimeline, type Tape, timelineOptions } from "../../src/index.js";
import { recordCloudBoot } from "../cloud-boot.js";
import { Workbench } from "../workbench.js";

const init = `#!/bin/sh
mount -t proc proc /proc
cat /etc/passwd /proc/version > /dev/null
(exit 3)
poweroff -f
`;

let bench: Workbench;
let tape: Tape;
beforeAll(async () => {
  bench = await Workbench.make();
  tape = await recordCloudBoot(bench, "boot", init);
}, 180_000);
afterAll(() => bench?.[Symbol.asyncDispose]());

interface Told {
  readonly instructions: number;
  readonly tasks: readonly { pid: number | null; name: string; instructions: number }[];
  readonly functions: readonly { name: string; isKernel: boolean; entries: number; calls: number }[];
  readonly tree: { readonly parent: readonly number[]; readonly self: readonly number[] };
}

async function told(...args: string[]): Promise<Told> {
  const { stdout } = await bench.run(["profile", "boot", ...args, "--json"]);
  return JSON.parse(stdout) as Told;
}

test("a profile has each instruction of the tape, and each execution that probes count", async () => {
  const profile = await told();
  const end = Number(tape.end.at);
  expect(profile.instructions).toBe(end);
  expect(profile.tree.self.reduce((sum, one) => sum + one, 0)).toBe(end);

  const { stdout } = await bench.run(["tasks", "boot", "--total", "--json"]);
  const { tasks } = JSON.parse(stdout) as { tasks: { pid: number; name: string; instructions: number }[] };
  const sums = (rows: readonly { pid: number | null; name: string; instructions: number }[]) => {
    const by = new Map<string, number>();
    for (const { pid, name, instructions } of rows) {
      by.set(`${pid} ${name}`, (by.get(`${pid} ${name}`) ?? 0) + instructions);
    }
    return [...by].sort();
  };
  expect(sums(profile.tasks)).toEqual(sums(tasks));

  // Only functions with a unique name, since probes are set by name.
  const times = new Map<string, number>();
  for (const { name } of profile.functions) times.set(name, (times.get(name) ?? 0) + 1);
  const chosen = profile.functions
    .filter(({ name, isKernel, entries }) => {
      return isKernel && times.get(name) === 1 && /^[a-z]\w+$/.test(name) && entries >= 5 && entries <= 3000;
    })
    .filter((_, i, all) => i % Math.ceil(all.length / 40) === 0);
  const timeline = await GuestTimeline.open(tape, await timelineOptions(bench.places, tape));
  await using _ = timeline;
  const counted = new Map<string, number>();
  for (const { name } of chosen) {
    counted.set(name, 0);
    await timeline
      .probe(name, () => void counted.set(name, counted.get(name)! + 1))
      .catch(() => counted.delete(name)); // the name stands for several places
  }
  await timeline.play();
  expect(counted.size).toBeGreaterThanOrEqual(20);
  const entries = chosen.filter(({ name }) => counted.has(name)).map((one) => [one.name, one.entries]);
  expect(entries).toEqual([...counted]);
}, 280_000);

test("a window's profile is of the window alone, and two halves are the whole", async () => {
  const end = Number(tape.end.at);
  const [from, middle] = [Math.floor(end * 0.9), Math.floor(end * 0.95)];
  const [first, second, both] = [
    await told(`@${from}`, `@${middle}`),
    await told(`@${middle}`, "end"),
    await told(`@${from}`, "end"),
  ];
  expect(first.instructions).toBe(middle - from);
  expect(second.instructions).toBe(end - middle);
  expect(both.instructions).toBe(end - from);
  const total = (rows: Told["functions"]) => rows.reduce((sum, { entries }) => sum + entries, 0);
  expect(total(first.functions) + total(second.functions)).toBe(total(both.functions));
}, 120_000);

test("coverage of a task is within that of all, and agrees with the profile on first instructions", async () => {
  interface Covered {
    readonly functions: readonly { name: string; start: string; entries: number; most: number }[];
  }
  const covered = async (...args: string[]) => {
    const { stdout } = await bench.run(["coverage", "boot", ...args, "--json"]);
    return (JSON.parse(stdout) as Covered).functions;
  };
  const all = await covered();
  const profile = await told();
  const once = (names: readonly string[]) => {
    const times = new Map<string, number>();
    for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
    return (name: string) => times.get(name) === 1;
  };
  const [inAll, inProfile] = [
    once(all.map(({ name }) => name)),
    once(profile.functions.map(({ name }) => name)),
  ];
  const entries = new Map(all.map((one) => [one.name, one.entries]));
  const both = profile.functions.filter(
    ({ name, isKernel }) => isKernel && inAll(name) && inProfile(name) && !name.includes("["),
  );
  expect(both.length).toBeGreaterThan(3000);
  const differing = both.filter((one) => entries.get(one.name) !== one.entries).map((one) => one.name);
  expect(differing).toEqual([]);
  const ofInit = await covered("--task", "1");
  const most = new Map(all.map((one) => [one.start, one.most]));
  expect(ofInit.filter((one) => one.most > 0).length).toBeGreaterThan(500);
  expect(ofInit.filter((one) => one.most > most.get(one.start)!)).toEqual([]);
}, 280_000);
