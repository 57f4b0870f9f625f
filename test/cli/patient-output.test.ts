import { afterEach, beforeEach, expect, test } from "vitest";
import { until, Workbench } from "../workbench.js";

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

const module = new URL("../../dist/cli/shell/patient-output.js", import.meta.url).href;

/** Writes 4 MiB, as long as there is room, into a pipe that is not read for a while. */
const script = `
  import { PatientOutput } from ${JSON.stringify(module)};
  let left = 64;
  const more = () => { while (left > 0) { left--; if (!output.write(Buffer.alloc(64 << 10, "x"))) return; } };
  const output = new PatientOutput(1, more);
  more();
  const ticks = setInterval(() => process.stderr.write("."), 10);
  process.stdin.once("data", async () => {
    clearInterval(ticks);
    await output.close(Infinity, new AbortController().signal);
    process.exit(0);
  });
`;

test("a reader that stands still holds up nothing, and gets everything", { timeout: 60_000 }, async () => {
  const child = bench.spawn(process.execPath, ["--input-type=module", "-e", script]);
  child.process.stdout?.pause();
  await until(() => child.stderr.length > 20, "the program to go on");
  child.process.stdout?.resume();
  await until(() => child.stdout.length === 4 << 20, "everything");
  child.type("end");
  expect((await child.ended).code).toBe(0);
});
