/**
 * Probes of a guest through the library and the command line: the facts of a hit are those that the machine shows
 * there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  GuestTimeline,
  guestAddress,
  icount,
  OpenTape,
  type ProbeHitEvent,
  parsePosition,
  type Tape,
  timelineOptions,
} from "../../src/index.js";
import { locate } from "../../src/replay/timeline/locate.js";
import { recordCloudBoot } from "../cloud-boot.js";
import { Workbench } from "../workbench.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const init = `#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
cat /etc/passwd /missing /proc/version > /dev/null
read -r line < /proc/version
(exit 3)
poweroff -f
`;

let bench: Workbench;
let tape: Tape;
beforeAll(async () => {
  bench = await Workbench.make();
  tape = await recordCloudBoot(bench, "boot", init);
});
afterAll(() => bench?.[Symbol.asyncDispose]());

test("handlers get the machine of their hit, of all probes in one pass", async () => {
  const options = await timelineOptions(bench.places, tape);
  await using timeline = await GuestTimeline.open(tape, options);
  const opened: ProbeHitEvent[] = [];
  const told: string[] = [];
  const files = await timeline.probe(
    "do_filp_open",
    async (hit) => {
      opened.push(hit);
      const name = await hit.value("pathname->name");
      if (!name.includes("/missing")) return;
      // This was not collected with the hit, so the timeline goes there.
      const stack = hit.register("rsp");
      const bytes = await hit.memory(stack, 8);
      expect(timeline.position).toEqual(hit.position);
      expect(bytes).toEqual(await timeline.readMemory(guestAddress(stack), 8));
      expect(await timeline.registers()).toEqual(hit.registers);
      expect(await hit.value("current->comm")).toContain(hit.task?.name);
      files.remove();
    },
    { print: ["pathname->name"] },
  );
  const pairs = ["first", "second"].map((name) =>
    timeline.probe("vfs_read", {
      pre: (hit) => void told.push(`${name} ${hit.position.icount}`),
      return: async (hit) => {
        const began = hit.icount - hit.instructions!;
        told.push(`${name} ${began} returned ${await hit.value("$retval")} ${hit.isCertain}`);
      },
    }),
  );
  const quiet = await timeline.probe("do_exit", () => expect.unreachable("it is disabled"));
  quiet.disable();
  await Promise.all(pairs);
  await timeline.play();
  expect(await Promise.all(opened.map((hit) => hit.value("pathname->name")))).toContainEqual(
    expect.stringContaining('"/etc/passwd"'),
  );
  expect((await opened.at(-1)?.value("pathname->name"))?.includes("/missing")).toBe(true);
  // Both probes report each call and each return, with the same results.
  const of = (name: string) =>
    told.filter((line) => line.startsWith(name)).map((line) => line.replace(name, ""));
  expect(of("first").sort()).toEqual(of("second").sort());
  const returned = of("first").filter((line) => line.includes("returned"));
  expect(returned.length).toBeGreaterThan(3);
  for (const line of returned) expect(of("first")).toContain(/^ \d+/.exec(line)![0]);
});

test("a value unfolds, member by member and pointer by pointer, each as it is printed alone", async () => {
  await using open = await OpenTape.open(tape, { places: bench.places }, "do_exit");
  const moment = open.now();
  using inspection = await moment.inspect("current");
  expect(inspection.value).toMatchObject({ type: "struct task_struct *", childCount: 1 });
  const [task] = await inspection.value.children();
  const members = await task!.children({ most: 500 });
  expect(members.length).toBe(task!.childCount);
  for (const name of ["pid", "comm", "prio", "mm"]) {
    const member = members.find((one) => one.name === name)!;
    const { values } = await moment.values([`current->${name}`]);
    expect([name, member.text]).toEqual([name, values[0]!.value]);
  }
  const mm = members.find(({ name }) => name === "mm")!;
  await open.at("end"); // what is read later is of the moment all the same
  expect(
    (await mm.children()).length + (await moment.values(["current->pid"])).values.length,
  ).toBeGreaterThan(0);
  expect(open.timeline.position).toEqual(moment.position);
  await expect(moment.inspect("nothing_of_this_name")).rejects.toMatchObject({ code: "not-found" });
});

test("system calls take conditions, values, both ends and positions that can be gone to", async () => {
  const args = ["sys_enter:openat", "--when", "(flags & 3) == 0", "--print", "filename", "--return"];
  const { stdout } = await bench.run(["probe", "boot", ...args, "--json"]);
  const hits = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const missing = hits.findIndex(({ what }) => what.startsWith('openat(AT_FDCWD, "/missing", O_RDONLY)'));
  expect(hits[missing].values[0].value).toMatch(/^0x[0-9a-f]+ "\/missing"$/);
  expect(hits[missing + 1]).toMatchObject({ kind: "return", task: "cat", certain: true });
  expect(hits[missing + 1].what).toMatch(/= -ENOENT$/);
  const { pc, brctr, icount: at } = hits[missing];
  const options = await timelineOptions(bench.places, tape);
  expect(await locate(tape, parsePosition(`${pc}:${brctr}`), options)).toMatchObject({
    icount: icount(BigInt(at)),
  });
  const failed = await bench.run([
    "probe",
    "boot",
    "sys_exit:open*",
    "--when",
    "$retval < 0",
    "--limit",
    "1",
  ]);
  expect(failed.stdout).toMatch(/ = -E[A-Z]+$/m);
});

test("strace tells calls, signals and ends in one pass, and leaves what it learned of the tasks", async () => {
  const { stdout } = await bench.run(["strace", "boot"]);
  expect(stdout).toMatch(
    / cat {2}openat\(AT_FDCWD, "\/missing", O_RDONLY\) = -ENOENT {2}\([\d,]+ instructions\)$/m,
  );
  expect(stdout).toMatch(/ init {2}read\(0, "L", 1\) = 1 {2}\([\d,]+ instructions\)$/m);
  expect(stdout).toMatch(
    / init {2}wait4\(-1, \[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == 3\}\], 0, NULL\) = \d+ /m,
  );
  expect(stdout).toMatch(
    / init {2}--- SIGCHLD \{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=\d+, .*\} ---$/m,
  );
  expect(stdout).toMatch(/ exit_group\(3\) = \?\n@\d+ \d+ init {2}\+\+\+ exited with 3 \+\+\+$/m);
  const misspelt = await bench.run(["strace", "boot", "--task", "cst"]);
  expect(misspelt.stderr).toMatch(/no task 'cst' ever runs; the nearest is cat/);
});

test.each([
  [["do_filp_open", "--when", "1 || pathnam->name"], /no 'pathnam' is known.* there are pathname/],
  [["do_filp_open", "--print", "current->coom"], /no member 'coom'.* it has comm/],
  [["sys_enter:opneat"], /no system call is named 'opneat'; there are openat/],
  [["do_exit", "--from", "@9", "--to", "@8"], /the end \(@8\) lies before the start \(@9\)/],
])("a mistake is told before anything is replayed: %j", async (args, message) => {
  const { code, stderr, stdout } = await bench.run(["probe", "boot", ...args]);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(message);
});

test("the README's program runs as it stands there", async () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const [, source = ""] = /```ts\n((?:(?!```)[\s\S])*GuestTimeline(?:(?!```)[\s\S])*)```/.exec(readme) ?? [];
  const file = bench.path("example.ts");
  writeFileSync(file, source.replace('"vmtape"', JSON.stringify(join(root, "src/index.ts"))));
  const runner = bench.spawn(process.execPath, [join(root, "test/oracle/run.mjs"), file], {
    cwd: root,
  });
  const { code, stdout, stderr } = await runner.ended;
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/cat opens 0x[0-9a-f]+ "\/missing"/);
  expect(stdout).toMatch(/a read of \d+ instructions gave \d+/);
});
