import { readFileSync, statSync } from "node:fs";
import { copyFile, mkdir, readdir, symlink, truncate, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { isWithout } from "../tools.js";
import { type Child, until, Workbench } from "../workbench.js";

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

const qemuOf = async () => (await bench.processes("rr=record"))[0]!;
const idle = async () => (await bench.leftovers()).filter((left) => left.startsWith("process")).length === 0;

/** Starts a recording of a guest that prints 64 KiB, so that its log is long enough to be cut. */
async function startLong(): Promise<Child> {
  const kernel = (await buildGuest("obey")).kernel;
  const child = bench.start(["record", "t", "--kernel", kernel, "-M", "32", "-c"]);
  await child.prints("ready");
  child.type("f");
  await child.prints("flooded");
  return child;
}

async function expectRepairable(): Promise<void> {
  const info = await bench.run(["info", "t"]);
  expect(info.stdout).toMatch(/state +interrupted/);
  expect(info.stdout).toMatch(/Make it replay: vmtape repair t/);
  const refused = await bench.run(["verify", "t"]);
  expect([refused.code, refused.stderr]).toEqual([
    2,
    "vmtape: tape 't' was interrupted before its recording was complete (vmtape repair t)\n",
  ]);
  const log = readFileSync(bench.path("home", "t", "replay.log"));
  const repaired = await bench.json<{ icount: number }>(["repair", "t"]);
  expect(repaired).toMatchObject({ state: "complete", cause: "repaired" });
  expect(repaired.icount).toBeGreaterThan(1_000_000);
  expect(log.equals(readFileSync(bench.path("home", "t", "original", "replay.log")))).toBe(true);
  expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true, icount: repaired.icount });
  expect(await bench.leftovers()).toEqual([]);
}

describe("after kill -9", () => {
  test("of QEMU, vmtape says so, and the tape can be repaired", async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([
      3,
      "vmtape: QEMU ended before the recording did: it was ended by SIGKILL (vmtape repair t)\n",
    ]);
    await expectRepairable();
  });

  test("of vmtape, QEMU ends by itself, and the tape can be repaired", async () => {
    const child = await startLong();
    child.kill("SIGKILL");
    await child.ended;
    await until(idle, "QEMU's end");
    await expectRepairable();
    const console = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
    expect(console).toMatch(/^ready\r\nf(0123456789abcdef.*\r\n)+flooded\r\n$/);
  });

  test("of both, the tape can be repaired", async () => {
    const child = await startLong();
    const qemu = await qemuOf();
    process.kill(qemu, "SIGKILL");
    child.kill("SIGKILL");
    await child.ended;
    await until(idle, "QEMU's end");
    await expectRepairable();
  });

  test("verify and replay repair on request, and a recording of that name needs -f", async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    await child.ended;
    const kernel = (await buildGuest("hello")).kernel;
    expect((await bench.run(["record", "t", "--kernel", kernel])).code).toBe(2);
    const { code, stderr } = await bench.run(["replay", "--repair", "t"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/repaired t: it replays to icount \d+/);
    expect(await bench.json(["verify", "--repair", "t"])).toMatchObject({ ok: true });
    const again = await bench.run(["repair", "t"]);
    expect([again.code, again.stderr]).toEqual([0, "t is complete: there is nothing to repair\n"]);
    expect((await bench.run(["record", "t", "-f", "--kernel", kernel])).code).toBe(0);
  });

  test("while a disk is copied, what is left can be replaced and destroyed", async () => {
    await bench.spawn("truncate", ["-s", "2G", bench.path("disk")]).ended;
    const kernel = (await buildGuest("hello")).kernel;
    const args = ["record", "t", "--kernel", kernel];
    const child = bench.start([...args, "-L", bench.path("disk")]);
    await until(
      () =>
        readdir(bench.path("home", "t", "disks")).then(
          (names) => names.length > 0,
          () => false,
        ),
      "a copy",
    );
    child.kill("SIGKILL");
    await child.ended;
    for (const command of ["info", "verify", "repair", "stop"]) {
      const { code, stderr } = await bench.run([command, "t"]);
      expect([code, stderr]).toEqual([
        2,
        "vmtape: the recording of tape 't' never began: it holds nothing (vmtape destroy t)\n",
      ]);
    }
    expect((await bench.run(["list"])).stdout).toMatch(/^t +interrupted/m);
    expect((await bench.run(args)).stderr).toMatch(/a tape 't' exists already/);
    expect((await bench.run(["destroy", "t"])).code).toBe(0);
    expect(await readdir(bench.path("home"))).toEqual([]);
  });

  test("of a replay, its QEMU and sockets go", async () => {
    const kernel = (await buildGuest("hello")).kernel;
    await bench.run(["record", "t", "--kernel", kernel]);
    const child = bench.start(["replay", "-p", "t"]);
    await child.prints("gdb:");
    child.kill("SIGKILL");
    await until(idle, "QEMU's end");
    expect((await bench.run(["replay", "-K", "t"])).stderr).toBe("no replay of t runs\n");
    expect(await bench.leftovers()).toEqual([]);
  });
});

describe("repair", () => {
  test("of a log cut at many places: each replays and ends at or before the cut", {
    timeout: 240_000,
  }, async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    await child.ended;
    const whole = readFileSync(bench.path("home", "t", "replay.log"));
    const cuts = [0.05, 0.31, 0.5, 0.77, 0.999].map((share) => Math.floor(whole.length * share));
    let last = 0;
    for (const [i, cut] of cuts.entries()) {
      const name = `cut${i}`;
      await bench.spawn("cp", ["-r", bench.path("home", "t"), bench.path("home", name)]).ended;
      await truncate(bench.path("home", name, "replay.log"), cut);
      const { icount } = await bench.json<{ icount: number }>(["repair", name]);
      expect(icount).toBeGreaterThanOrEqual(last);
      last = icount;
      expect(await bench.json(["verify", name])).toMatchObject({ ok: true, icount });
    }
  });

  test("of a log of zero bytes, or none, says that there is nothing to mend", async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    await child.ended;
    const log = bench.path("home", "t", "replay.log");
    for (const length of [0, 5, 12]) {
      await truncate(log, length);
      const { code, stderr } = await bench.run(["repair", "t"]);
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/^vmtape: .*before its log held anything.*\(vmtape destroy t\)\n$/),
      ]);
    }
    await bench.spawn("rm", [log]).ended;
    expect((await bench.run(["repair", "t"])).stderr).toMatch(/before its log was made/);
    await mkdir(log);
    expect((await bench.run(["repair", "t"])).stderr).toMatch(/is a directory/);
    expect(await bench.run(["info", "t"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/is a directory/),
    });
  });

  test("prints the console again when it is shorter than the log says", async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    await child.ended;
    const console = bench.path("home", "t", "console.raw");
    const whole = readFileSync(console);
    await truncate(console, 100);
    await bench.json(["repair", "t"]);
    const again = readFileSync(console);
    expect(again.length).toBeGreaterThan(60_000);
    expect(whole.subarray(0, again.length).equals(again)).toBe(true);
    expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
  });

  test("writes through no link in a tape from a stranger", async () => {
    const child = await startLong();
    process.kill(await qemuOf(), "SIGKILL");
    await child.ended;
    const tape = bench.path("home", "t");
    const precious = bench.path("precious");
    await writeFile(precious, "mine");
    await mkdir(bench.path("elsewhere"));
    for (const name of ["replay.log.new", "console.raw.new", "manifest.json.new"]) {
      await symlink(precious, `${tape}/${name}`);
    }
    await bench.json(["repair", "t"]);
    expect(readFileSync(precious, "utf8")).toBe("mine");
    // The same with a directory outside in place of original/.
    await bench.spawn("rm", ["-r", `${tape}/original`]).ended;
    await symlink(bench.path("elsewhere"), `${tape}/original`);
    const manifest = JSON.parse(readFileSync(`${tape}/manifest.json`, "utf8"));
    manifest.end = undefined;
    await writeFile(`${tape}/manifest.json`, JSON.stringify(manifest));
    const { code, stderr } = await bench.run(["repair", "t"]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/original is not a directory/)]);
    expect(await readdir(bench.path("elsewhere"))).toEqual([]);
  });
});

/** Mounts a small file system, which the test can fill. */
async function mountSmall(directory: string, megabytes: number): Promise<void> {
  await mkdir(directory);
  const options = ["-t", "tmpfs", "-o", `size=${megabytes}m`, "none", directory];
  const { code, stderr } = await bench.spawn("mount", options).ended;
  expect(
    code,
    `${stderr.trim()}; be root, in a place where file systems can be mounted, or VMTAPE_TEST_WITHOUT=root`,
  ).toBe(0);
}

/** These need root; elsewhere they fail, unless the user says that there is none: `VMTAPE_TEST_WITHOUT=root`. */
const withoutRoot = isWithout("root");

describe.skipIf(withoutRoot)("a full disk (needs root, to mount a small one)", () => {
  afterEach(async () => {
    await bench.spawn("umount", ["-l", bench.path("small")]).ended;
  });

  test("is refused before a recording begins", async () => {
    await mountSmall(bench.path("small"), 8);
    const kernel = (await buildGuest("hello")).kernel;
    const { code, stderr } = await bench.run([
      "record",
      "t",
      "--kernel",
      kernel,
      "--home",
      bench.path("small"),
    ]);
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^vmtape: no space left to record in .*\/small\/t/),
    ]);
    expect(await readdir(bench.path("small"))).toEqual([]);
  });

  test("while inputs are copied leaves nothing", async () => {
    await mountSmall(bench.path("small"), 24);
    await writeFile(bench.path("disk"), Buffer.alloc(40 << 20, 1));
    const kernel = (await buildGuest("hello")).kernel;
    const args = ["record", "t", "--kernel", kernel, "-L", bench.path("disk"), "--home", bench.path("small")];
    const { code, stderr } = await bench.run(args);
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^vmtape: no space left while writing .*0\.base/),
    ]);
    expect(await readdir(bench.path("small"))).toEqual([]);
  });

  test("while recording ends it early, with a whole tape", async () => {
    await mountSmall(bench.path("small"), 24);
    const kernel = (await buildGuest("obey")).kernel;
    const home = ["--home", bench.path("small")];
    const child = bench.start(["record", "t", "--kernel", kernel, "-M", "32", "-c", ...home]);
    await child.prints("ready");
    await writeFile(bench.path("small", "ballast"), Buffer.alloc(21 << 20)).catch(() => {});
    const { code, stdout, stderr } = await child.ended;
    expect(code).toBe(3);
    expect(stdout).toMatch(/stopped: the disk was nearly full/);
    expect(stderr).toMatch(/^vmtape: the disk was nearly full, .*\n$/);
    expect(await bench.json(["verify", "t", "--home", bench.path("small")])).toMatchObject({ ok: true });
  });

  test("at once, to the last byte, leaves a tape that can be repaired", async () => {
    await mountSmall(bench.path("small"), 24);
    const home = ["--home", bench.path("small")];
    const kernel = (await buildGuest("obey")).kernel;
    const child = bench.start(["record", "t", "--kernel", kernel, "-M", "32", "-c", ...home]);
    await child.prints("ready");
    // QEMU writes its log in pieces; repair needs the first one to be on the disk.
    child.type("f");
    await until(() => statSync(bench.path("small", "t", "replay.log")).size > 0, "a log with bytes");
    const filling = bench.spawn("dd", ["if=/dev/zero", `of=${bench.path("small", "ballast")}`, "bs=1M"]);
    child.type("f".repeat(40));
    const { code, stderr } = await child.ended;
    await filling.ended;
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^vmtape: .*\n$/)]);
    expect(stderr).toMatch(/no space left|disk/);
    // Repair needs space for a second log, and says so.
    const full = await bench.run(["repair", "t", ...home]);
    if (full.code !== 0) {
      expect([full.code, full.stderr]).toEqual([
        3,
        expect.stringMatching(/^vmtape: no space left while .*\n$/),
      ]);
    }
    await bench.spawn("rm", [bench.path("small", "ballast")]).ended;
    await bench.json(["repair", "t", ...home]);
    expect(await bench.json(["verify", "t", ...home])).toMatchObject({ ok: true });
  });
});

test.skipIf(withoutRoot)(
  "a home that this user may not write (needs root, to become somebody else)",
  async () => {
    const kernel = (await buildGuest("hello")).kernel;
    await copyFile(kernel, bench.path("kernel"));
    await bench.spawn("chmod", ["755", bench.directory]).ended;
    await mkdir(bench.path("home"), { mode: 0o755 });
    const vmtape = bench.spawn("setpriv", [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      process.execPath,
      new URL("../../dist/cli/main.js", import.meta.url).pathname,
      ...["record", "t", "--kernel", bench.path("kernel")],
    ]);
    const { code, stderr } = await vmtape.ended;
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^vmtape: no permission for making .*\/home\/t/),
    ]);
  },
);
