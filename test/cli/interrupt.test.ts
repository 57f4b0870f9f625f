import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { program, Workbench } from "../workbench.js";

/** Commands that print for long: who ends them, or has enough of them, is told apart from a whole answer. */
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
