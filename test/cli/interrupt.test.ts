import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { program, until, Workbench } from "../workbench.js";

/** Commands that print much: when they are ended, or their reader leaves, this differs from a complete answer. */
let bench: Workbench;

beforeAll(async () => {
  bench = await Workbench.make();
  const record = Buffer.alloc(24);
  record.writeBigUInt64LE(0xffffffff81000000n, 0);
  record.writeBigUInt64LE(0xffffffff81000010n, 8);
  await writeFile(bench.path("many.bts"), Buffer.alloc(24 * 2_000_000, record));
});
afterAll(() => bench[Symbol.asyncDispose]());

describe("branches dump", () => {
  const dump = ["branches", "dump", "many.bts"];

  test("a reader that has enough: 141, and not a word", async () => {
    const piped = `"$@" | head -n 1; exit "\${PIPESTATUS[0]}"`;
    const { code, stdout, stderr } = await bench.spawn(
      "bash",
      ["-c", piped, "bash", process.execPath, program, ...dump],
      { cwd: bench.directory },
    ).ended;
    expect([code, stderr]).toEqual([141, ""]);
    expect(stdout.split("\n")).toHaveLength(2);
  });

  test("Ctrl-C: 130, for it is not all", async () => {
    const child = bench.spawn(process.execPath, [program, ...dump], { cwd: bench.directory });
    await child.prints("81000000");
    child.kill("SIGINT");
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([130, "vmtape: stopped on request\n"]);
  });
});

describe("a FIFO that nobody reads", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("as an output is waited for until %s", async (signal) => {
    const fifo = bench.path(`fifo-${signal}`);
    expect((await bench.spawn("mkfifo", [fifo]).ended).code).toBe(0);
    const child = bench.spawn(process.execPath, [program, "branches", "extract", "many.bts", "-o", fifo]);
    await until(() => opened(child.process.pid!, "many.bts"), "the records to be read");
    child.kill(signal);
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([130, "vmtape: stopped on request\n"]);
  });

  test("gets all of it once somebody does", async () => {
    const fifo = bench.path("fifo-read");
    expect((await bench.spawn("mkfifo", [fifo]).ended).code).toBe(0);
    const writer = bench.spawn(process.execPath, [
      program,
      "branches",
      "extract",
      "many.bts",
      "--bts",
      "-o",
      fifo,
    ]);
    const reader = bench.spawn("sh", ["-c", 'exec 3<"$1"; read -r _; wc -c <&3', "sh", fifo]);
    await until(async () => (await wroteBytes(writer.process.pid!)) >= pipeBytes, "a full pipe");
    reader.type("now\n");
    expect([(await writer.ended).code, (await reader.ended).stdout.trim()]).toEqual([
      0,
      String(24 * 2_000_000),
    ]);
  });
});

/** The bytes that a pipe can hold. */
const pipeBytes = 64 << 10;

/** How many bytes a process has written so far, to all its files. */
async function wroteBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, "latin1");
  return Number(/^wchar: (\d+)$/m.exec(text)![1]);
}

/** Has the process a file of this name open? */
async function opened(pid: number, name: string): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => [] as string[]);
  const links = descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => ""));
  return (await Promise.all(links)).some((target) => target.endsWith(name));
}
