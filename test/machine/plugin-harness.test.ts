import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chunkHeaderLayout, chunkMagic } from "../../src/formats/branch-log-layout.js";
import { streamEndLayout, streamEndMagic } from "../../src/formats/plugin-stream.js";
import { Workbench } from "../workbench.js";

// The plugin without a QEMU, under the sanitizers: what its threads do to one another does not depend on a guest.
let bench: Workbench;
const harnesses = { address: "", thread: "" };
beforeAll(async () => {
  bench = await Workbench.make();
  const source = fileURLToPath(new URL("../plugin/branches-harness.c", import.meta.url));
  const plugin = fileURLToPath(new URL("../../plugin/", import.meta.url));
  for (const [name, checks] of [
    ["address", ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]],
    ["thread", ["-fsanitize=thread"]],
  ] as const) {
    harnesses[name] = join(bench.directory, name);
    const flags = [
      "-g",
      "-O1",
      "-Wall",
      "-Wextra",
      "-Werror",
      "-DQEMU_PLUGIN_API=2",
      `-I${plugin}`,
      ...checks,
    ];
    execFileSync("cc", [...flags, source, "-o", harnesses[name], "-lpthread"]);
  }
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Runs it. A thread sanitizer wants addresses where it looks for them: some kernels move them too far. */
function run(which: keyof typeof harnesses, args: readonly string[], input = ""): Buffer {
  const { status, stdout, stderr } = spawnSync("setarch", ["-R", harnesses[which], ...args], {
    input,
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${which}: exit ${status}: ${stderr.toString().slice(0, 4000)}`);
  return stdout;
}

/** Records of each window of a stream: in its chunks, and as its end says. */
function windowsOf(stream: Buffer): [inChunks: number, atEnd: number][] {
  const windows: [number, number][] = [];
  let records = 0;
  for (let at = 0; at < stream.length; at += chunkHeaderLayout.size) {
    const magic = stream.readUInt32LE(at);
    if (magic === streamEndMagic) {
      windows.push([records, Number(stream.readBigUInt64LE(at + streamEndLayout.records))]);
      records = 0;
      continue;
    }
    expect(magic).toBe(chunkMagic);
    records += stream.readUInt32LE(at + chunkHeaderLayout.records);
    const events = stream.readUInt32LE(at + chunkHeaderLayout.eventsBytes);
    at += events + stream.readUInt32LE(at + chunkHeaderLayout.blocksBytes);
  }
  return windows;
}

describe.each(["address", "thread"] as const)("under the %s sanitizer", (sanitizer) => {
  // A window's records were filtered by the selection of the window that was open when they were encoded.
  test("each window's records are chosen by its own selection, however late they are encoded", () => {
    const stream = run(sanitizer, ["windows", "user", "800", "kernel", "1600", "all", "80", "user", "8"]);
    expect(windowsOf(stream)).toEqual([
      [400, 400],
      [1000, 1000],
      [80, 80],
      [4, 4],
    ]);
  });

  test("windows are recorded while others are encoded", () => {
    const windows = windowsOf(run(sanitizer, ["threads", "6"]));
    expect(windows).toHaveLength(6);
    for (const [inChunks, atEnd] of windows) expect(inChunks).toBe(atEnd);
  });

  // It was dropped without an answer, and its tail run as a command.
  test("a line that is too long is refused as one, and the next is a command again", () => {
    const lines = [
      "x".repeat(300_000),
      "where".padStart(262_144 + 5),
      "y".repeat(262_143),
      "nonsense",
      "",
    ].join("\n");
    const answers = run(sanitizer, ["control"], lines).toString().trim().split("\n");
    const refused = (why: string) => JSON.stringify({ error: why });
    const tooLong = refused("the line is too long");
    expect(answers).toEqual([tooLong, tooLong, refused("no such command"), refused("no such command")]);
  });
});
