/**
 * With `VMTAPE_TEST_COSTS=FILE`, appends the cost of each test file: a line of processor seconds, seconds, and its
 * name.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect } from "vitest";

const output = process.env.VMTAPE_TEST_COSTS;

/** Processor seconds of this worker and of all children that it has waited for. */
function processorSeconds(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return ticks / 100;
}

if (output !== undefined) {
  let startedAt = 0;
  beforeAll(() => {
    startedAt = performance.now();
  });
  afterAll(() => {
    const seconds = (performance.now() - startedAt) / 1000;
    const line = `${processorSeconds().toFixed(1)} ${seconds.toFixed(1)} ${expect.getState().testPath}\n`;
    appendFileSync(output, line);
  });
}
