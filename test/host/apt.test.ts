import { type FileHandle, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { findProgram } from "../../src/base/tool.js";
import { installPackages } from "../../src/host/apt.js";
import { until } from "../workbench.js";

/**
 * The real apt-get on a small system of its own, in which one package is installed already: nothing is fetched or
 * changed, but locks are taken. Meanwhile another process holds one of them, as unattended upgrades do.
 */
const status = `Package: hello
Status: install ok installed
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 1
Description: says it

`;
const locks = {
  "dpkg's, as while something is installed": "dpkg/lock-frontend",
  "that of downloads": "cache/archives/lock",
} as const;
const listsLock = "state/lists/lock";

interface NativeLocks {
  tryLock(fd: number): boolean;
}
const native = createRequire(import.meta.url)("fs-native-extensions") as NativeLocks;

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 }); // a busy host is no fault

let directory: string;
const held: FileHandle[] = [];
const noted = vi.spyOn(process.stderr, "write");
const place = (...names: string[]) => join(directory, ...names);

let aptGet: string | undefined;
beforeAll(async () => {
  aptGet = await findProgram("apt-get");
  expect(aptGet, "apt-get is there: vmtape is for Debian").toMatch(/\/apt-get$/);
  noted.mockImplementation(() => true);
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  for (const folder of ["state/lists/partial", "cache/archives/partial", "dpkg", "etc", "bin"])
    await mkdir(place(folder), { recursive: true });
  await writeFile(place("dpkg/status"), status);
  const settings = {
    "Dir::State": place("state"),
    "Dir::State::status": place("dpkg/status"),
    "Dir::Cache": place("cache"),
    "Dir::Etc": place("etc"),
    "Dir::Log": place("log"),
    "APT::Architecture": "amd64",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  await writeFile(place("apt.conf"), lines.join(""));
  // Users who are not root need no sudo, since the files are their own.
  await writeFile(place("bin/sudo"), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
  // Its output is kept, so that the test can wait for it.
  await writeFile(place("bin/apt-get"), `#!/bin/sh\nexec ${aptGet} "$@" >>${place("said")}\n`, {
    mode: 0o755,
  });
  vi.stubEnv("APT_CONFIG", place("apt.conf"));
  vi.stubEnv("PATH", `${place("bin")}:${process.env.PATH}`);
  noted.mockClear();
});
afterEach(async () => {
  for (const handle of held.splice(0)) await handle.close();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});
afterAll(() => noted.mockRestore());

async function hold(name: string): Promise<() => Promise<void>> {
  const handle = await open(place(name), "w");
  held.push(handle);
  expect(native.tryLock(handle.fd)).toBe(true);
  return () => handle.close();
}

/** Everything that apt and vmtape have printed. */
const said = () => noted.mock.calls.map(([text]) => String(text)).join("");

test("a package that is there: nothing is waited for", async () => {
  const waits: string[] = [];
  await installPackages(["hello"], { onWait: (why) => waits.push(why) });
  expect(waits).toEqual([]);
});

describe("a lock that another holds is waited for", () => {
  test("dpkg's: apt itself waits", async () => {
    const release = await hold(locks["dpkg's, as while something is installed"]);
    const installed = installPackages(["hello"], { patience: 60 });
    await until(
      async () => /Waiting for cache lock/.test(await readFile(place("said"), "utf8").catch(() => "")),
      "apt",
    );
    await release();
    await installed;
  });

  test("that of downloads: it is called again", async () => {
    const release = await hold(locks["that of downloads"]);
    const waits: string[] = [];
    const installed = installPackages(["hello"], {
      patience: 60,
      onWait: (why) => {
        waits.push(why);
        void release();
      },
    });
    await installed;
    expect(waits).toEqual([expect.stringContaining(place("cache/archives/lock"))]);
    expect(said()).not.toContain("E:");
  });

  test("that of the lists, which are fetched for an unknown package", async () => {
    const release = await hold(listsLock);
    const waits: string[] = [];
    const failed = installPackages(["nothing-like-it"], {
      patience: 60,
      onWait: (why) => {
        waits.push(why);
        void release();
      },
    });
    await expect(failed).rejects.toMatchObject({ code: "missing-tool" });
    expect(waits).toEqual([expect.stringContaining(place(listsLock))]);
  });

  test("but not for ever", async () => {
    await hold(locks["that of downloads"]);
    await expect(installPackages(["hello"], { patience: 0.1 })).rejects.toMatchObject({
      code: "missing-tool",
      message: "installing hello failed: another program holds apt's lock",
    });
  });

  test.each(Object.values(locks))("and not when the user has enough (%s)", async (name) => {
    await hold(name);
    const enough = new AbortController();
    let waits = 0;
    const onWait = () => void waits++;
    const installed = installPackages(["hello"], { patience: 600, signal: enough.signal, onWait });
    installed.catch(() => {}); // looked at below
    const hasWaited = async () =>
      waits > 0 || /Waiting for cache lock/.test(await readFile(place("said"), "utf8").catch(() => ""));
    await until(hasWaited, "the wait");
    enough.abort();
    await expect(installed).rejects.toMatchObject({ code: "cancelled" });
  });
});
