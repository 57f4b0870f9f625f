import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { aptArchive, isPackageName, isPackageVersion, parsePackageRecord } from "../../src/guest/archive.js";
import { packagingEnvironment, runCommand, runPipeline } from "../../src/guest/command.js";
import { until, Workbench } from "../workbench.js";
import { fakeArchive } from "./archive-fixture.js";

const stanza = `Package: linux-image-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Architecture: amd64
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool, kmod:any
Description: Linux for 64-bit PCs (meta-package)
 Version: 9.9
Size: 1480
SHA256: 45457bcfc86c87585800b5656bdf2773b063a3bb95486b0e820d51e870491f8d

Package: linux-image-amd64
Version: 6.1.176-1
`;

describe("names", () => {
  test.each(["linux-image-6.12.117+deb12-amd64", "busybox-static", "g++"])("%s is a package", (name) => {
    expect(isPackageName(name)).toBe(true);
  });
  test.each([
    "",
    "a",
    "-o",
    "--help",
    "A",
    "a b",
    "a;b",
    "a/b",
    "../x",
    "a=1",
    "a\nb",
    "$(x)",
    "é1",
    "x".repeat(201),
  ])("%j is not", (name) => {
    expect(isPackageName(name)).toBe(false);
  });
  test("versions", () => {
    expect(["6.1.192-2", "1:1.35.0-4+deb12u1+b1", "6.12.117-1~deb12u1"].every(isPackageVersion)).toBe(true);
    expect(["", "-1", "a", "1 2", "1;2", "1/2", "1$"].some(isPackageVersion)).toBe(false);
  });
});

describe("what apt-cache says", () => {
  test("the first stanza, alternatives' first, exact versions", () => {
    expect(parsePackageRecord(stanza, "linux-image-amd64")).toEqual({
      name: "linux-image-amd64",
      version: "6.1.192-2",
      architecture: "amd64",
      depends: [
        { name: "linux-image-6.1.0-56-amd64", version: "6.1.192-2" },
        { name: "initramfs-tools" },
        { name: "kmod" },
      ],
      size: 1480,
      sha256: "45457bcfc86c87585800b5656bdf2773b063a3bb95486b0e820d51e870491f8d",
    });
  });

  test.each([
    ["another package", stanza.replace("Package: linux-image-amd64", "Package: other")],
    ["an installed one without a file", stanza.replace(/SHA256.*/, "")],
    ["no version", stanza.replace("Version: 6.1.192-2", "")],
    ["a version with words", stanza.replace("Version: 6.1.192-2", "Version: 1; rm -rf /")],
    ["nothing", ""],
  ])("%s is no record", (_, text) => {
    expect(parsePackageRecord(text, "linux-image-amd64")).toBeUndefined();
  });

  test("another configuration is another archive", () => {
    expect(aptArchive({}).id).toBe(aptArchive({}).id);
    expect(aptArchive({ APT_CONFIG: "/etc/other.conf" }).id).not.toBe(aptArchive({}).id);
  });
});

describe("APT_CONFIG", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "vmtape-apt-"));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(directory, { recursive: true });
  });

  /** A configuration with sources, lists and a cache of its own; its archive is a directory. */
  async function configure(): Promise<void> {
    const archive = await fakeArchive(directory, [{ name: "linux-image-mine", version: "4.2-1" }]);
    const record = (await archive.find("linux-image-mine"))!;
    const pool = join(directory, "pool");
    await mkdir(pool);
    await archive.download(record, pool);
    await writeFile(
      join(pool, "Packages"),
      `Package: linux-image-mine\nVersion: 4.2-1\nArchitecture: amd64\nMaintainer: t <t@t>\n` +
        `Filename: ./x.deb\nSize: ${record.size}\nSHA256: ${record.sha256}\nDescription: t\n\n`,
    );
    for (const place of ["lists/partial", "cache/archives/partial"]) {
      await mkdir(join(directory, place), { recursive: true });
    }
    await writeFile(join(directory, "sources.list"), `deb [trusted=yes] file:${pool} ./\n`);
    await writeFile(join(directory, "status"), "");
    await writeFile(
      join(directory, "apt.conf"),
      `Dir::Etc::sourcelist "${directory}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n` +
        `Dir::State::lists "${directory}/lists";\nDir::State::status "${directory}/status";\n` +
        `Dir::Cache "${directory}/cache";\nAPT::Sandbox::User "";\nAPT::Update::Post-Invoke-Success "";\n`,
    );
    vi.stubEnv("APT_CONFIG", join(directory, "apt.conf"));
  }

  test("says where packages come from", async () => {
    await configure();
    const apt = aptArchive();
    // This configuration has no lists yet, even if the machine's own has.
    await expect(apt.find("linux-image-mine")).rejects.toMatchObject({ code: "missing-tool" });
    expect(await runCommand("apt-get", ["update"])).toMatchObject({ code: 0 });
    const record = (await apt.find("linux-image-mine"))!;
    expect(record).toMatchObject({ version: "4.2-1", architecture: "amd64" });
    const into = join(directory, "download");
    await mkdir(into);
    expect(await apt.download(record, into)).toMatch(/\.deb$/);
  }, 30_000);
});

describe("running tools", () => {
  test("nothing of the caller's environment but path, home, proxies and apt's configuration", () => {
    const environment = packagingEnvironment({
      PATH: "/bin",
      APT_CONFIG: "/etc/other.conf",
      DPKG_ROOT: "/elsewhere",
      LANG: "de",
      http_proxy: "p",
    });
    expect(environment).toEqual({
      PATH: "/bin",
      APT_CONFIG: "/etc/other.conf",
      http_proxy: "p",
      LC_ALL: "C",
      DEBIAN_FRONTEND: "noninteractive",
    });
  });

  test("a pipeline carries bytes, and says how each stage ended", async () => {
    const ends = await runPipeline([
      ["printf", ["a\\nb\\n"]],
      ["grep", ["c"]],
      ["wc", ["-c"]],
    ]);
    expect(ends.map((end) => end.code)).toEqual([0, 1, 0]);
    expect(ends[2]!.stdout.trim()).toBe("0");
  });

  test("a missing program", async () => {
    await expect(runCommand("no-such-program", [])).rejects.toMatchObject({ code: "missing-tool" });
  });

  test("on abort the program is gone before the error comes", async () => {
    const stop = new AbortController();
    await using bench = await Workbench.make();
    const file = (name: string) => bench.path(name);
    // The script takes some time to end, and then makes a file. The commands that it runs are short, because a signal
    // that arrives between fork and exec of a child is lost.
    const script = `trap 'sleep 0.2; : > "${file("gone")}"; exit' TERM; : > "${file("up")}"; while :; do sleep 0.05; done`;
    const running = runCommand("sh", ["-c", script], { signal: stop.signal });
    running.catch(() => {}); // looked at below
    await until(() => existsSync(file("up")), "the program");
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "cancelled" });
    expect(existsSync(file("gone"))).toBe(true);
  });
});
