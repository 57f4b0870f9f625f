import { spawnSync } from "node:child_process";
import { copyFile, cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { isVmtapeError } from "../../src/base/errors.js";
import { atCommand } from "../../src/cli/at/at.js";
import { gdbCommand } from "../../src/cli/at/gdb.js";
import { branchesCommand } from "../../src/cli/branches/branches.js";
import { traceCommand } from "../../src/cli/branches/trace.js";
import { dmesgCommand } from "../../src/cli/guest/dmesg.js";
import { filesCommand } from "../../src/cli/guest/files.js";
import { mapsCommand } from "../../src/cli/guest/maps.js";
import { modulesCommand } from "../../src/cli/guest/modules.js";
import { probeCommand } from "../../src/cli/guest/probe.js";
import { psCommand } from "../../src/cli/guest/ps.js";
import { straceCommand } from "../../src/cli/guest/strace.js";
import { tasksCommand } from "../../src/cli/guest/tasks.js";
import { destroyCommand } from "../../src/cli/record/destroy.js";
import { infoCommand } from "../../src/cli/record/info.js";
import { listCommand } from "../../src/cli/record/list.js";
import { repairCommand } from "../../src/cli/record/repair.js";
import { stopCommand } from "../../src/cli/record/stop.js";
import { consoleCommand } from "../../src/cli/replay/console.js";
import { indexCommand } from "../../src/cli/replay/index-tape.js";
import { logCommand } from "../../src/cli/replay/log.js";
import { replayCommand } from "../../src/cli/replay/replay.js";
import { verifyCommand } from "../../src/cli/replay/verify.js";
import { sampleFiles, sampleManifest, writeSampleTape } from "../tape/sample-tape.js";

/**
 * What a stranger may put in place of a tape's files. No command may open any of it: opening a FIFO would block it
 * for ever, without reacting to signals.
 */
const inPlace: Readonly<Record<string, (path: string) => Promise<void>>> = {
  FIFO: async (path) => run("mkfifo", path),
  directory: async (path) => void (await mkdir(path)),
  "link to a device": (path) => symlink("/dev/zero", path),
  "link to a good file": async (path) => {
    const elsewhere = `${path}-elsewhere`;
    await rename(`${path}-good`, elsewhere);
    await symlink(elsewhere, path);
  },
  socket: async (path) => {
    const server = createServer();
    servers.push(server);
    // The path of a socket must be short, so it is made elsewhere and moved.
    const short = join(directory, `s${servers.length}`);
    await new Promise<void>((resolve) => server.listen(short, resolve));
    await rename(short, path);
  },
  ...(process.getuid?.() === 0 && { device: async (path: string) => run("mknod", path, "c", "1", "5") }),
};

/** Every command that takes a tape, with options that lead to different parts of its code. */
const commands: readonly string[][] = [
  ["info", "t"],
  ["stop", "t"],
  ["replay", "t"],
  ["replay", "-K", "t"],
  ["replay", "-r", "t"],
  ["console", "t"],
  ["console", "--raw", "t"],
  ["console", "--json", "t"],
  ["verify", "t"],
  ["repair", "t"],
  ["log", "t"],
  ["log", "--summary", "t"],
  ["index", "t"],
  ["index", "t", "--check"],
  ["index", "t", "--drop"],
  ["at", "t", "@1"],
  ["trace", "t", "--all", "-o", "x.branches"],
  ["gdb", "t"],
  ["ps", "t"],
  ["tasks", "t"],
  ["probe", "t", "do_exit"],
  ["strace", "t"],
  ["maps", "t", "1"],
  ["files", "t", "1"],
  ["modules", "t"],
  ["dmesg", "t"],
];

const makers: Readonly<Record<string, () => Command>> = {
  ...{ at: atCommand, branches: branchesCommand, console: consoleCommand, destroy: destroyCommand },
  ...{ dmesg: dmesgCommand, files: filesCommand, gdb: gdbCommand, index: indexCommand, info: infoCommand },
  ...{ list: listCommand, log: logCommand, maps: mapsCommand, modules: modulesCommand, probe: probeCommand },
  ...{
    ps: psCommand,
    repair: repairCommand,
    replay: replayCommand,
    stop: stopCommand,
    strace: straceCommand,
  },
  ...{ tasks: tasksCommand, trace: traceCommand, verify: verifyCommand },
};

/** A command takes milliseconds; one that hangs does so for ever. */
const patienceMs = 5000;
const folders = ["disks", "firmware", "symbols", "original"];

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 }); // a busy host is no fault

let directory: string;
let home: string;
const tape = (...names: string[]) => join(home, "t", ...names);
const servers: Server[] = [];
const written = vi.spyOn(process.stdout, "write");
const noted = vi.spyOn(process.stderr, "write");

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  home = join(directory, "home");
  vi.stubEnv("XDG_RUNTIME_DIR", join(directory, "run"));
  vi.stubEnv("XDG_CACHE_HOME", join(directory, "cache"));
  vi.stubEnv("VMTAPE_HOME", home);
  written.mockImplementation(() => true);
  noted.mockImplementation(() => true);
  for (const command of commands) await failure(command); // loads all modules, so that times mean something
});
beforeEach(async () => {
  await rm(home, { recursive: true, force: true });
  await writeSampleTape(tape());
  await mkdir(tape("original"));
  written.mockClear();
});
afterAll(async () => {
  written.mockRestore();
  noted.mockRestore();
  vi.unstubAllEnvs();
  for (const server of servers) server.close();
  await rm(directory, { recursive: true, force: true });
});

function run(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
}

/** Runs a command in this process. Returns its error, or undefined. */
async function failure(words: readonly string[]): Promise<unknown> {
  const program = new Command().exitOverride().addCommand(makers[words[0]!]!().exitOverride());
  return program.parseAsync([...words], { from: "user" }).then(
    () => undefined,
    (error) => error,
  );
}

/** Puts something in place of a file, which is kept beside it. */
async function replace(name: string, kind: string): Promise<void> {
  await rename(tape(name), tape(`${name}-good`));
  await inPlace[kind]!(tape(name));
}

async function refusals(all: readonly string[][]): Promise<object[]> {
  const wrong: object[] = [];
  for (const words of all) {
    const startedAt = performance.now();
    const timeout = new Promise<string>((resolve) => setTimeout(resolve, patienceMs, "hangs").unref());
    const error = await Promise.race([failure(words), timeout]);
    const tookMs = performance.now() - startedAt;
    const isRefused =
      isVmtapeError(error) && error.class === "input" && !error.message.includes("\n") && tookMs < patienceMs;
    const isNamed = isVmtapeError(error) && error.message.includes(tape());
    if (!isRefused || !isNamed || written.mock.calls.length > 0)
      wrong.push({ words: words.join(" "), error: String(error), tookMs, said: written.mock.calls.length });
    written.mockClear();
    if (error === "hangs") break; // its thread is blocked, as would be those of the next commands
  }
  return wrong;
}

describe.each(Object.keys(inPlace))("a %s", (kind) => {
  test.each(sampleFiles)("in place of %s is refused by every command, at once", async (name) => {
    await replace(name, kind);
    expect(await refusals(commands)).toEqual([]);
  });

  test.each(sampleFiles.filter((name) => name !== "manifest.json"))(
    "in place of %s of an interrupted tape",
    async (name) => {
      const { end: _, ...unfinished } = sampleManifest();
      await writeFile(tape("manifest.json"), JSON.stringify(unfinished));
      await replace(name, kind);
      expect(
        await refusals([
          ["info", "t"],
          ["repair", "t"],
          ["replay", "-r", "t"],
          ["log", "t"],
          ["stop", "t"],
        ]),
      ).toEqual([]);
    },
  );

  test("is listed as damage, and branches find no names in such a tape", async () => {
    await replace("kernel", kind);
    expect(await failure(["list", "--json"])).toBeUndefined();
    expect(JSON.parse(String(written.mock.calls[0]![0]))).toMatchObject([
      { name: "t", state: "damaged", problem: "damaged: bad-file" },
    ]);
  });

  test.each(["replay.log", "lock", "manifest.json", "kernel"])("in place of %s: destroy", async (name) => {
    await replace(name, kind);
    await rm(tape(`${name}-good`), { force: true });
    await rm(tape(`${name}-elsewhere`), { force: true });
    const error = await failure(["destroy", "t"]);
    // It is removed without being opened. But a directory may have files that do not belong to the tape.
    if (kind === "directory") {
      expect(error).toMatchObject({ code: "bad-file", message: `${tape(name)} is a directory` });
      for (const other of sampleFiles) run("test", "-e", tape(other));
    } else {
      expect(error).toBeUndefined();
      expect(spawnSync("test", ["-e", tape()]).status).toBe(1);
    }
  });
});

describe.each(Object.keys(inPlace).filter((kind) => kind !== "directory" && !/good/.test(kind)))(
  "a %s in place of the folder",
  (kind) => {
    test.each(folders)("%s", async (name) => {
      await rm(tape(name), { recursive: true, force: true });
      await inPlace[kind]!(tape(name));
      expect(await refusals(commands)).toEqual([]);
    });
  },
);

describe("a file the user names", () => {
  test.each(["FIFO", "directory", "socket", "link to a device"])("a %s is refused at once", async (kind) => {
    const path = join(directory, `named-${kind}`);
    await inPlace[kind]!(path);
    for (const words of [
      ["log", path],
      ["branches", "info", path],
      ["branches", "dump", path],
      ["branches", "extract", path, "-o", join(directory, "out")],
    ]) {
      const startedAt = performance.now();
      const error = await failure(words);
      // A directory is no log, so the word is taken for the name of a tape, and is none.
      expect([words, isVmtapeError(error) && error.class]).toEqual([words, "input"]);
      expect(performance.now() - startedAt).toBeLessThan(patienceMs);
    }
  });

  test("a link to a good one is followed", async () => {
    const path = join(directory, "records.bts");
    const record = Buffer.alloc(24);
    record.writeBigUInt64LE(0xffffffff81000000n, 0);
    record.writeBigUInt64LE(0xffffffff81000010n, 8);
    await writeFile(path, record);
    await symlink(path, `${path}-link`);
    expect(await failure(["branches", "dump", `${path}-link`])).toBeUndefined();
  });
});

test("a tape that was copied as it should be is opened", async () => {
  await cp(tape(), join(home, "copy"), { recursive: true });
  await copyFile(tape("kernel"), join(home, "copy", "kernel"));
  expect(await failure(["info", "copy"])).toBeUndefined();
});
