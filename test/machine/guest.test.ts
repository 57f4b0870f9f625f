import { execFileSync, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, makeGuest } from "../../src/guest/guest.js";
import { placesFrom } from "../../src/tape/home.js";

/** Boots in plain QEMU, without record and replay: these tests are only about the guest. */
const qemu = process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64";
/** Downloads are kept where vmtape keeps them. */
const cacheDir = placesFrom(process.env).cache;
const bootTimeoutMs = 120_000;

let directory: string;
let guest: Guest;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-guest-"));
  guest = await makeGuest({ cacheDir });
});
afterAll(() => rm(directory, { recursive: true }));

/** The console's lines; fails when the machine did not power itself off. */
async function boot(append = "", devices: readonly string[] = [], booted = guest): Promise<string[]> {
  const console = join(directory, "console");
  const machine = [
    "-nodefaults",
    "-no-user-config",
    "-machine",
    "pc",
    "-accel",
    "tcg",
    "-m",
    "256",
    "-nic",
    "none",
  ];
  const output = [
    "-display",
    "none",
    "-chardev",
    `file,id=c,path=${console}`,
    "-serial",
    "chardev:c",
    "-no-reboot",
  ];
  const linux = ["-kernel", booted.kernel, "-initrd", booted.initrd, "-append", `${booted.append} ${append}`];
  const ended = spawnSync(qemu, [...machine, ...output, ...linux, ...devices], { timeout: bootTimeoutMs });
  const lines = (await readFile(console, "latin1")).split(/\r?\n/);
  expect(ended.status, `${ended.stderr}\n${lines.slice(-20).join("\n")}`).toBe(0);
  return lines;
}

const loadedModules = (lines: readonly string[]) =>
  lines
    .find((line) => line.startsWith("vmtape: modules:"))
    ?.split(" ")
    .slice(2);

describe("the default guest", () => {
  test("loads its modules, does its work and powers off", async () => {
    expect(guest.missingModules).toEqual([]);
    const lines = await boot();
    expect(lines).toContain(`vmtape: Linux ${guest.version} is up`);
    expect(loadedModules(lines)).toEqual([...guest.modules].sort());
    for (const name of ["forks", "pipes", "files", "random", "signals", "shell"]) {
      expect(lines).toContain(`vmtape: ${name}`);
    }
    // What a shell says about the same work.
    expect(lines).toContain(`sum of exit codes: ${1 + 2 + 3 + 4 + 5 + 6 + 7 + 8}`);
    expect(lines).toContain("fibonacci: 1548008755920");
    const numbers = Array.from({ length: 2000 }, (_, index) => `${index + 1}\n`).join("");
    const md5 = execFileSync("md5sum", { input: numbers }).toString().split(" ")[0];
    expect(lines).toContain(`${md5}  /tmp/numbers`);
    expect(lines.join("\n")).not.toMatch(/could not load|not found|can't|[Pp]anic|Oops|tainted/);
    expect(lines.findIndex((line) => line.includes("reboot: Power down"))).toBeGreaterThan(
      lines.indexOf("vmtape: done, powering off"),
    );
  });

  test("writes to an ext4 disk and has a network, when given them", async () => {
    const image = join(directory, "disk.img");
    await writeFile(image, "");
    await truncate(image, 32 << 20);
    execFileSync("mkfs.ext4", ["-q", "-F", image], { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
    const disk = ["-drive", `file=${image},format=raw,if=none,id=d`, "-device", "virtio-blk-pci,drive=d"];
    const network = ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"];
    const lines = await boot("", [...disk, ...network]);
    expect(lines).toContain("vmtape: disk: /dev/vda is mounted");
    expect(lines).toContain("vmtape: network: eth0 is 10.0.2.15");
    const seen = execFileSync("debugfs", ["-R", "cat /many/10", image], {
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(seen.toString()).toBe("10\n");
    // It was unmounted properly, so fsck has nothing to repair.
    execFileSync("fsck.ext4", ["-n", "-f", image], {
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      stdio: "pipe",
    });
  });

  test("runs a command of the kernel's command line in place of its workload", async () => {
    const lines = await boot('vmtape.run="cat /etc/modules; echo a b; exit 3"');
    expect(lines).toContain("a b");
    expect(lines).toContain("vmtape: the command ended with 3");
    expect(lines).not.toContain("vmtape: forks");
    const order = lines.filter((line) => line.endsWith(".ko")).map((line) => line.replace(/.*\/|\.ko$/g, ""));
    expect(order.map((name) => name.replaceAll("-", "_"))).toEqual(guest.modules);
    expect(await boot("vmtape.run=true")).toContain("vmtape: the command ended with 0");
  });

  test("takes another init, and files", async () => {
    const init = join(directory, "my-init");
    await writeFile(
      init,
      "#!/bin/sh\necho mine\ncat /opt/text\nmount -t proc p /proc\necho o > /proc/sysrq-trigger\nsleep 9\n",
    );
    const text = join(directory, "text");
    await writeFile(text, "of my own\n");
    const mine = await makeGuest({
      cacheDir,
      directory: join(directory, "mine"),
      init,
      additions: [{ source: text, destination: "/opt/" }],
    });
    const lines = await boot("", [], mine);
    expect(lines).toEqual(expect.arrayContaining(["mine", "of my own"]));
  });
});
