/**
 * Disks and networks: that disks are copied and checked, and the originals are not changed. bench/workloads.ts tests
 * what guests do with them.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { readdir, rename } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { until, Workbench } from "../workbench.js";

let bench: Workbench;
let kernel: string;
beforeAll(async () => {
  bench = await Workbench.make();
  kernel = (await buildGuest("hello")).kernel;
});
afterAll(() => bench[Symbol.asyncDispose]());

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const image = async (...args: string[]) => {
  const { code, stderr } = await bench.spawn("qemu-img", args).ended;
  expect([code, stderr]).toEqual([0, ""]);
};

interface Disks {
  readonly disks: readonly { readonly format: string; readonly bytes: number; readonly sha256: string }[];
}

describe("disks", () => {
  const [raw, base, overlay] = ["disk, raw", "base", "overlay"] as const;

  beforeAll(async () => {
    writeFileSync(bench.path(raw), Buffer.alloc(3 << 20, "raw"));
    await image("create", "-q", "-f", "qcow2", bench.path(base), "8M");
    await image("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", bench.path(base), bench.path(overlay));
    const disks = [raw, base, overlay].flatMap((name) => ["-L", bench.path(name)]);
    const before = [raw, base, overlay].map((name) => sha256(bench.path(name)));
    expect((await bench.run(["record", "t", "--kernel", kernel, ...disks])).code).toBe(0);
    expect([raw, base, overlay].map((name) => sha256(bench.path(name)))).toEqual(before);
  });

  test("raw, qcow2 and qcow2 with a backing file are in the tape, each standing alone", async () => {
    const { disks } = await bench.json<Disks>(["info", "t"]);
    expect(disks.map(({ format }) => format)).toEqual(["raw", "qcow2", "qcow2"]);
    expect(disks.slice(0, 2).map((disk) => disk.sha256)).toEqual(
      [raw, base].map((name) => sha256(bench.path(name))),
    );
    const flat = bench.path("home", "t", "disks", "2.base");
    const { stdout } = await bench.spawn("qemu-img", ["info", "--output=json", flat]).ended;
    expect(JSON.parse(stdout)).not.toHaveProperty("backing-filename");
    // The originals are no longer needed.
    for (const name of [raw, base, overlay]) await rename(bench.path(name), bench.path(`${name}.gone`));
    expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
    for (const name of [raw, base, overlay]) await rename(bench.path(`${name}.gone`), bench.path(name));
  });

  test("a tape can be moved", async () => {
    await bench.spawn("cp", ["-r", bench.path("home", "t"), bench.path("home", "moved")]).ended;
    expect(await bench.json(["verify", "moved"])).toMatchObject({ ok: true });
  });

  test("one that was changed is refused", async () => {
    const path = bench.path("home", "moved", "disks", "0.base");
    const bytes = readFileSync(path);
    bytes[1_000_000]! ^= 1;
    writeFileSync(path, bytes);
    for (const command of ["replay", "verify"]) {
      const { code, stderr } = await bench.run([command, "moved"]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/0\.base is not the file that was recorded/)]);
    }
  });

  test("one from a stranger that names a file outside its tape is refused, its hash right or not", async () => {
    const path = bench.path("home", "moved", "disks", "1.base");
    await image("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/hostname", path);
    const manifestPath = bench.path("home", "moved", "manifest.json");
    const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
    const bytes = readFileSync(path).length;
    manifest.machine.disks = [{ format: "qcow2", base: { bytes, sha256: sha256(path) } }];
    await rename(path, bench.path("home", "moved", "disks", "0.base"));
    writeFileSync(manifestPath, JSON.stringify(manifest));
    const { code, stderr } = await bench.run(["replay", "moved"]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/0\.base refers to files outside its tape/)]);
  });

  test("a disk that is a text file is raw; one that only claims to be qcow2 is refused", async () => {
    writeFileSync(bench.path("text"), "hello\n".repeat(100));
    const args = ["record", "u", "--kernel", kernel, "-L"];
    expect((await bench.run([...args, bench.path("text")])).code).toBe(0);
    const { code, stderr } = await bench.run([
      "record",
      "v",
      "--kernel",
      kernel,
      "-L",
      `${bench.path("text")},format=qcow2`,
    ]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/is no qcow2 image/)]);
    writeFileSync(bench.path("broken"), readFileSync(bench.path(base)).subarray(0, 90));
    const broken = await bench.run(["record", "v", "--kernel", kernel, "-L", bench.path("broken")]);
    expect(broken.code).not.toBe(0);
    expect(broken.stderr.trim().split("\n")).toHaveLength(1);
    expect(await readdir(bench.path("home"))).not.toContain("v");
  });
});

describe("a network", () => {
  test("forwards a port of this host's loopback while recording, and none while replaying", async () => {
    const free = createServer().listen(0, "127.0.0.1");
    await until(() => free.listening, "a port");
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    const obey = (await buildGuest("obey")).kernel;
    const child = bench.start([
      "record",
      "n",
      "-c",
      "--kernel",
      obey,
      "--net",
      `user,hostfwd=tcp::${port}-:7`,
    ]);
    await child.prints("ready");
    const canConnect = () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.destroy();
          resolve(true);
        });
        socket.once("error", () => resolve(false));
      });
    expect(await canConnect()).toBe(true);
    child.type("q");
    expect((await child.ended).code).toBe(0);
    const paused = bench.start(["replay", "-p", "n"]);
    await paused.prints("gdb:");
    expect(await canConnect()).toBe(false);
    paused.kill("SIGINT");
    await paused.ended;
    expect(await bench.json(["verify", "n"])).toMatchObject({ ok: true });
  });

  test("whose port is taken is refused, and nothing is left", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await until(() => server.listening, "a port");
    const { port } = server.address() as AddressInfo;
    const { code, stderr } = await bench.run([
      "record",
      "p",
      "--kernel",
      kernel,
      "--net",
      `user,hostfwd=tcp::${port}-:7`,
    ]);
    server.close();
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^vmtape: QEMU did not start: .*forwarding rule.*\n$/),
    ]);
    expect(await readdir(bench.path("home"))).not.toContain("p");
    expect(await bench.leftovers()).toEqual([]);
  });
});
