/**
 * A distribution from its making to questions about its tape. It is made from the mirror of this machine's apt,
 * booted with systemd from its disk, logged in to, gets a package over the network, and is powered off. The tape is
 * then replayed, verified and indexed, and views of it are compared. The oracles are the guest's own output and
 * binutils.
 */
import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Child, Workbench } from "../workbench.js";

const rounds = 5;
/** No step takes that long, even on a busy host. */
const patienceMs = 20 * 60_000;

interface Image {
  readonly record: string[];
  readonly packages: Readonly<Record<string, string>>;
  readonly directory: string;
}

let bench: Workbench;
let server: Server;
let image: Image;
/** Everything that the guest has printed. */
let printed = "";

/** Types each line as soon as the text before it was printed. */
async function talk(child: Child, lines: readonly (readonly [after: string, line: string])[]): Promise<void> {
  let from = 0;
  for (const [after, line] of lines) {
    const deadline = performance.now() + patienceMs;
    while (child.stdout.indexOf(after, from) < 0) {
      if (performance.now() > deadline || child.process.exitCode !== null)
        throw new Error(`the guest did not print ${after}: ${child.stdout.slice(-2000)} ${child.stderr}`);
      await delay(50);
    }
    from = child.stdout.indexOf(after, from) + after.length;
    child.type(`${line}\n`);
  }
}

/** A package with one file in it. */
async function buildPackage(): Promise<Buffer> {
  await mkdir(bench.path("note", "DEBIAN"), { recursive: true });
  await mkdir(bench.path("note", "usr", "share", "note"), { recursive: true });
  await writeFile(
    bench.path("note", "DEBIAN", "control"),
    "Package: note\nVersion: 1.5\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a note\n",
  );
  await writeFile(bench.path("note", "usr", "share", "note", "text"), "installed on a tape\n");
  execFileSync("dpkg-deb", ["--build", "--root-owner-group", bench.path("note"), bench.path("note.deb")]);
  return readFile(bench.path("note.deb"));
}

beforeAll(async () => {
  bench = await Workbench.make();
  const source = fileURLToPath(new URL("worker.c", import.meta.url));
  execFileSync("cc", ["-g", "-O1", "-static-pie", "-o", bench.path("worker"), source]);
  const note = await buildPackage();
  server = createServer((request, response) => {
    response.statusCode = request.url === "/note.deb" ? 200 : 404;
    response.end(response.statusCode === 200 ? note : "");
  }).listen(0, "127.0.0.1");
  const { port } = server.address() as AddressInfo;
  const add = `${bench.path("worker")}=/usr/local/bin/`;
  image = await bench.json<Image>([
    ...["guest", "--image", bench.path("image"), "--suite", "bookworm", "--add", add],
  ]);
  const [, , , ...options] = image.record;
  const child = bench.start(["record", "t", ...options]);
  const url = `http://10.0.2.2:${port}/note.deb`;
  await talk(child, [
    ["login: ", "root"],
    ["# ", `/usr/lib/apt/apt-helper download-file ${url} /tmp/note.deb`],
    ["# ", "apt-get install -y /tmp/note.deb"],
    ["# ", "cat /usr/share/note/text"],
    ["# ", `worker ${rounds}`],
    ["# ", "systemctl is-system-running; findmnt -n -o SOURCE,FSTYPE /"],
    ["# ", "systemctl poweroff"],
  ]);
  child.process.stdin?.end();
  const { code, stdout } = await child.ended;
  printed = stdout;
  expect(code).toBe(0);
});
afterAll(async () => {
  server?.close();
  await bench?.[Symbol.asyncDispose]();
});

test("it boots with systemd from its disk, takes a login, and installs a package", () => {
  expect(image.packages).toHaveProperty("systemd-sysv");
  expect(printed).toMatch(/Setting up note \(1\.5\)/);
  expect(printed).toContain("installed on a tape");
  expect(printed).toMatch(/^running\r?$/m);
  expect(printed).toMatch(/^\/dev\/vda +ext4/m);
  for (const sum of ["packed 00", "packed 02", "packed 09", "packed 24", "packed 50"])
    expect(printed).toContain(sum);
  expect(printed).toMatch(/reboot: Power down/);
});

test("it replays, and verifies", async () => {
  const replayed = await bench.run(["replay", "t"]);
  expect([replayed.code, replayed.stderr]).toEqual([0, expect.any(String)]);
  expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
});

describe("indexed", () => {
  beforeAll(async () => {
    expect((await bench.run(["index", "t"])).code).toBe(0);
  });

  const lines = async (...args: string[]) => {
    const { code, stdout, stderr } = await bench.run(args);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    return stdout.trim().split("\n");
  };
  const weighs = () => lines("probe", "t", "worker:weigh", "--print", "factor", "--print", "one->name");

  test("a function of a program is probed wherever the kernel put it, with its arguments", async () => {
    const hits = await weighs();
    // One call for each of 0 … i-1, for i from 1 to 5.
    const factors = Array.from({ length: rounds }, (_, i) =>
      Array.from({ length: i + 1 }, (_, j) => j),
    ).flat();
    expect(hits.map((line) => /factor = (\d+), one->name = 0x[0-9a-f]+ "box"/.exec(line)?.[1])).toEqual(
      factors.map(String),
    );
    expect(hits.every((line) => / worker {2}/.test(line))).toBe(true);
    const symbols = execFileSync("nm", [bench.path("worker")]).toString();
    const offset = Number.parseInt(/^([0-9a-f]+) T weigh$/m.exec(symbols)![1]!, 16);
    const addresses = new Set(hits.map((line) => BigInt(/^0x[0-9a-f]+/.exec(line)![0])));
    expect([...addresses].map((address) => Number(address & 0xfffn))).toEqual([offset & 0xfff]);
  });

  test("stack, mappings, files and tasks at an instant in the program", async () => {
    const hit = (await weighs()).at(-1)!;
    const at = `@${/@(\d+)/.exec(hit)![1]}`;
    const pid = /> +(\d+) worker/.exec(hit)![1]!;
    const stack = await lines("at", "t", at, "--stack");
    expect(stack.join("\n")).toMatch(/weigh.*worker\.c[\s\S]*pack.*worker\.c[\s\S]*main.*worker\.c/);
    const maps = await lines("maps", "t", pid, "--at", at);
    expect(maps.join("\n")).toMatch(/r-xp .*\/usr\/local\/bin\/worker/);
    const files = await lines("files", "t", pid, "--at", at);
    expect(files.join("\n")).toMatch(/\/dev\/ttyS0/);
    const ps = await lines("ps", "t", "--at", at);
    expect(ps.join("\n")).toMatch(/\bsystemd\b[\s\S]*\bworker\b/);
  });

  test("who ran, and the program's system calls", async () => {
    const tasks = (await lines("tasks", "t")).join("\n");
    for (const name of ["systemd", "apt-get", "dpkg", "worker", "systemd-network"])
      expect(tasks).toContain(name);
    const calls = (await lines("strace", "t", "--task", "worker")).join("\n");
    for (const sum of ["00", "02", "09", "24", "50"])
      expect(calls).toContain(`write(1, "packed ${sum}\\n", 10) = 10`);
    expect(calls).toMatch(/\+\+\+ exited with 0 \+\+\+/);
  });
});
