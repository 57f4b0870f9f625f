/**
 * Programs on a disk: probed wherever the kernel has mapped them, by their names, and compared with binutils and with
 * the programs' own output.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeGuest } from "../../src/guest/guest.js";
import { placesFrom } from "../../src/tape/home.js";
import { Workbench } from "../workbench.js";

let bench: Workbench;
const source = fileURLToPath(new URL("../long/worker.c", import.meta.url));
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

beforeAll(async () => {
  bench = await Workbench.make();
  const program = bench.path("root", "bin", "worker");
  mkdirSync(bench.path("root", "bin"), { recursive: true });
  execFileSync("cc", ["-g", "-O1", "-static-pie", "-Wl,--build-id", "-o", program, source]);
  // The same program without names, and the user's copy with names under another name.
  execFileSync("strip", ["-o", bench.path("root", "bin", "bare"), program]);
  copyFileSync(program, bench.path("with-names"));
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", bench.path("root"), bench.path("disk"), "32M"], { env });
  const { kernel, initrd, append } = await makeGuest({
    cacheDir: placesFrom(process.env).cache,
    directory: bench.path("guest"),
    package: "linux-image-cloud-amd64",
  });
  const run = "cd /mnt/bin; ./worker 3; ./worker 2; cp worker late; ./late 1; ./bare 2";
  const { code, stdout } = await bench.run([
    ...["record", "t", "-c", "--kernel", kernel, "-R", initrd, "-L", bench.path("disk")],
    ...["--symbols", bench.path("with-names"), "--append", `${append} vmtape.run="${run}"`],
  ]);
  expect(code).toBe(0);
  expect(stdout.match(/packed \d\d/g)).toEqual(
    ["00", "02", "09", "00", "02", "00", "00", "02"].map((sum) => `packed ${sum}`),
  );
  // With checkpoints a probe's pass begins where its program was first mapped.
  expect((await bench.run(["index", "t"])).code).toBe(0);
}, 300_000);
afterAll(() => bench?.[Symbol.asyncDispose]());

/** Factors of the calls in so many rounds: 0 … i-1 in round i. */
const factors = (rounds: number) =>
  Array.from({ length: rounds }, (_, i) => Array.from({ length: i + 1 }, (_, j) => String(j))).flat();

async function probe(where: string, ...more: string[]) {
  const { code, stdout, stderr } = await bench.run(["probe", "t", where, ...more]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const lines = stdout.trim().split("\n");
  return {
    lines,
    factors: lines.map((line) => /factor = (\d+)/.exec(line)?.[1]),
    addresses: [...new Set(lines.map((line) => BigInt(/^0x[0-9a-f]+/.exec(line)?.[0] ?? 0)))],
  };
}

test("a function of a position-independent program, each time it was started", async () => {
  const { lines, factors: seen, addresses } = await probe("worker:weigh");
  expect(seen).toEqual([...factors(3), ...factors(2)]);
  expect(lines[0]).toMatch(/ <weigh> +\d+ worker {2}one = \(struct order \*\) 0x7f\w+, factor = 0$/);
  const symbols = execFileSync("nm", [bench.path("with-names")]).toString();
  const offset = BigInt(`0x${/^([0-9a-f]+) T weigh$/m.exec(symbols)![1]!}`);
  expect(addresses.length).toBe(2); // the kernel chose another address
  expect(addresses.map((address) => address & 0xfffn)).toEqual(addresses.map(() => offset & 0xfffn));
});

test("of one that was written while recording, and of one without names of which the user gave a copy", async () => {
  expect((await probe("late:weigh")).factors).toEqual(factors(1));
  expect((await probe("bare:weigh")).factors).toEqual(factors(2));
  expect((await probe("weigh")).factors).toEqual([3, 2, 1, 2].flatMap(factors));
  const { lines } = await probe("late:weigh", "--return");
  expect(lines[1]).toMatch(/weigh returned 0/);
});

test("conditions, values behind pointers and source lines", async () => {
  const named = await probe(
    "/bin/worker:weigh",
    "--when",
    "factor == 2",
    "--print",
    "factor",
    "--print",
    "one->name",
  );
  expect(named.lines).toHaveLength(1);
  expect(named.lines[0]).toMatch(/factor = 2, one->name = 0x[0-9a-f]+ "box"$/);
  const line = execFileSync("grep", ["-n", "char line", source]).toString().split(":")[0]!;
  expect((await probe(`late:worker.c:${line}`)).lines).toHaveLength(1);
});

test("a stack through the program has its functions and lines", async () => {
  const { lines } = await probe("late:weigh");
  const { stdout } = await bench.run(["at", "t", `@${/@(\d+)/.exec(lines[0]!)![1]}`, "--stack"]);
  expect(stdout).toMatch(/weigh[^\n]*worker\.c[\s\S]*pack[^\n]*worker\.c[\s\S]*main[^\n]*worker\.c/);
});

test("what is not there is told", async () => {
  for (const [where, message] of [
    ["nobody:main", /no program 'nobody' ever ran/],
    ["late:nothing", /nothing is named 'nothing' in late/],
    ["nothing-at-all", /nothing is named 'nothing-at-all'/],
  ] as const) {
    const { code, stderr } = await bench.run(["probe", "t", where]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
  }
});
