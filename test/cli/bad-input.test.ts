import { chmod, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Workbench } from "../workbench.js";

/**
 * Input that vmtape refuses before it makes anything. No QEMU is needed: a script that prints its version is enough.
 */
let bench: Workbench;
let env: Record<string, string>;

const program = (body: string) => `#!/bin/sh\n${body}\n`;

async function script(name: string, body: string): Promise<string> {
  const path = bench.path(name);
  await writeFile(path, program(body));
  await chmod(path, 0o755);
  return path;
}

beforeAll(async () => {
  bench = await Workbench.make();
  const qemu = await script(
    "qemu",
    'case "$*" in *--version) echo "QEMU emulator version 7.2.22 (fake)";; esac',
  );
  env = { VMTAPE_QEMU: qemu };
  const kernel = Buffer.alloc(4096);
  kernel.write("HdrS", 0x202, "latin1");
  await writeFile(bench.path("kernel"), kernel);
  kernel.writeUInt16LE(0x020f, 0x206);
  kernel.writeUInt32LE(1000, 0x24c);
  await writeFile(bench.path("kernel32"), kernel);
  await writeFile(bench.path("empty"), "");
  await writeFile(bench.path("text"), "just a letter\n".repeat(1000));
  await mkdir(bench.path("folder"));
  await bench.spawn("mkfifo", [bench.path("fifo")]).ended;
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Expects one matching sentence on stderr, this exit code, and that nothing was made. */
async function refused(args: readonly string[], code: number, sentence: RegExp, more = {}) {
  const outcome = await bench.run(args, { env: { ...env, ...more } });
  expect(outcome.stderr).toMatch(sentence);
  expect(outcome.stderr.trim().split("\n")).toHaveLength(1);
  expect(outcome.code).toBe(code);
  expect(outcome.stdout).toBe("");
  expect(await readdir(bench.path("home")).catch(() => [])).toEqual([]);
}

const record = (...args: string[]) => ["record", "t", "--kernel", bench.path("kernel"), ...args];

describe("a name", () => {
  test.each([
    ["record", "a/b"],
    ["info", ".."],
    ["destroy", "../x"],
    ["replay", "a b"],
    ["verify", "x".repeat(300)],
    ["repair", ""],
    ["stop", "a\nb"],
  ])("%s %j", async (command, name) => {
    await refused([command, name], 2, /is no tape name/);
  });

  test("with a leading dash", async () => {
    const { code, stderr } = await bench.run(["info", "-x"], { env });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/unknown option '-x'/)]);
    await refused(["info", "--", "-x"], 2, /is no tape name/);
  });

  test.each(["info", "replay", "verify", "repair", "stop", "destroy", "log", "console"])(
    "%s of no such tape",
    async (command) => {
      await refused([command, "nothing"], 2, /^vmtape: there is no tape 'nothing' \(looked in .*\)/);
    },
  );

  test("no replay of no such tape can be ended", async () => {
    await refused(["replay", "-K", "nothing"], 2, /there is no tape 'nothing'/);
  });
});

describe("a file", () => {
  const cases: [string, string, RegExp][] = [
    ["missing", "absent", /absent does not exist/],
    ["a directory", "folder", /folder is a directory/],
    ["empty", "empty", /empty is empty/],
    ["a FIFO", "fifo", /fifo is not a regular file/],
  ];
  test.each(cases)("the kernel: %s", async (_what, file, sentence) => {
    await refused(["record", "t", "--kernel", bench.path(file)], 2, sentence);
  });
  test("the kernel: not a kernel", async () => {
    await refused(["record", "t", "--kernel", bench.path("text")], 2, /is not a kernel/);
  });
  test("the kernel: a 32-bit one", async () => {
    const kernel = bench.path("kernel32");
    await refused(
      ["record", "t", "--kernel", kernel],
      2,
      /kernel32 is a 32-bit Linux kernel; guests are 64-bit/,
    );
  });
  test("a package with a 32-bit kernel", async () => {
    await refused(["guest", "--package", "linux-image-686-pae"], 2, /holds a 32-bit kernel \(i386\)/);
  });
  test.each(cases)("the initrd: %s", async (_what, file, sentence) => {
    await refused(record("-R", bench.path(file)), 2, sentence);
  });
  test.each(cases)("a disk: %s", async (_what, file, sentence) => {
    await refused(record("-L", bench.path(file)), 2, sentence);
  });
  test.each(cases)("symbols: %s", async (_what, file, sentence) => {
    await refused(record("--symbols", bench.path(file)), 2, sentence);
  });
});

describe("a machine", () => {
  test.each([
    [["--memory=0"], /memory '0' is not a whole number of megabytes/],
    [["--memory=-1"], /memory '-1' is not a whole number of megabytes/],
    [["-M", "999999999"], /is more than this host has/],
    [["--smp", "2"], /a machine with 2 CPUs cannot be replayed/],
    [["--kvm"], /a run under 'kvm' cannot be replayed/],
    [["--accel", "kvm"], /a run under 'kvm' cannot be replayed/],
    [["--net", "tap,ifname=tap0"], /network 'tap' cannot be replayed/],
    [["--net", "user,model=e1000"], /card 'e1000' cannot be chosen: only virtio-net replays/],
    [["--cpu", "host"], /is no CPU model/],
    [["--cpu", "max,x=1"], /is no CPU model/],
  ])("%j", async (options, sentence) => {
    await refused(record(...options), 2, sentence);
  });
  test.each(["0", "soon"])("that stops after %s seconds", async (timeout) => {
    const { code, stderr } = await bench.run(record(`--timeout=${timeout}`), { env });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/it must be a positive number of seconds/)]);
  });
});

describe("a QEMU", () => {
  test("that is missing", async () => {
    await refused(record(), 3, /^vmtape: QEMU \(.*\) is not installed \(sudo apt-get install/, {
      VMTAPE_QEMU: bench.path("absent"),
    });
  });
  test.each([
    ["too old", 'echo "QEMU emulator version 6.2.0 (Debian 1)"', /is QEMU 6.2.0; supported are 7.1 to 10.2/],
    ["too new", 'echo "QEMU emulator version 11.0.0"', /is QEMU 11.0.0; supported are 7.1 to 10.2/],
    ["no QEMU", "echo hello", /does not answer as a QEMU system emulator/],
    ["broken", "exit 7", /does not answer as a QEMU system emulator/],
  ])("that is %s", async (what, body, sentence) => {
    await refused(record(), 3, sentence, { VMTAPE_QEMU: await script(what.replace(" ", "-"), body) });
  });
  test("without firmware", async () => {
    await refused(record(), 3, /firmware file bios-256k.bin is not installed/);
  });
  test("that is a directory, or cannot be run", async () => {
    await refused(record(), 3, /is not installed/, { VMTAPE_QEMU: bench.path("folder") });
    await refused(record(), 3, /is not installed/, { VMTAPE_QEMU: bench.path("text") });
  });
  test("that refuses to start", async () => {
    const firmware = bench.path("firmware");
    await mkdir(firmware);
    for (const name of ["bios-256k.bin", "linuxboot_dma.bin"])
      await writeFile(bench.path("firmware", name), "x");
    const qemu = await script(
      "stubborn",
      `case "$*" in
        *--version) echo "QEMU emulator version 7.2.22 (fake)";;
        "-L help") echo ${firmware};;
        *) echo "qemu-system-x86_64: it is too hot" >&2; exit 1;;
      esac`,
    );
    await refused(record(), 3, /^vmtape: QEMU did not start: it is too hot\n$/, { VMTAPE_QEMU: qemu });
  });
});

describe("a home", () => {
  test("that is a file", async () => {
    await writeFile(bench.path("file"), "x");
    const { code, stderr } = await bench.run([...record(), "--home", bench.path("file")], { env });
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/cannot be there: a part of its path is no directory/),
    ]);
    const listed = await bench.run(["list", "--home", bench.path("file")], { env });
    expect([listed.code, listed.stderr]).toEqual([2, expect.stringMatching(/is no directory/)]);
  });
  test("that does not exist has no tapes", async () => {
    const { code, stdout } = await bench.run(["list", "--home", bench.path("absent")]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^No tapes in /)]);
    expect((await bench.run(["list", "--json", "--home", bench.path("absent")])).stdout).toBe("[]\n");
  });
  test("with things that are no tapes lists none of them", async () => {
    const home = bench.path("odd");
    await mkdir(bench.path("odd", "empty"), { recursive: true });
    await writeFile(bench.path("odd", "file"), "");
    await symlink("/etc", bench.path("odd", "link"));
    expect((await bench.run(["list", "--json", "--home", home])).stdout).toBe("[]\n");
  });
});

test("no command, an unknown command, an unknown option: exit 2 with help", async () => {
  for (const args of [[], ["fly"], ["list", "--wings"], ["info"], ["info", "a", "b"]]) {
    const { code, stderr, stdout } = await bench.run(args);
    expect([args, code, stdout]).toEqual([args, 2, ""]);
    expect(stderr).toMatch(/Usage|error:/);
    expect(stderr).not.toMatch(/at .*\.js/);
  }
});

test("with --json an error is an object on stdout", async () => {
  const { code, stdout } = await bench.run(["info", "nothing", "--json"]);
  expect(code).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: "no-such-tape" } });
  const usage = await bench.run(["info", "--json", "--nothing", "t"], { env });
  const message = "unknown option '--nothing'";
  expect([usage.code, JSON.parse(usage.stdout)]).toEqual([2, { error: { code: "usage", message } }]);
});
