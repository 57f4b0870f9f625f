import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import Lanes from "./test/lanes.js";

/** More guests at once than this help nobody, and each may take a gigabyte. */
const mostWorkers = 4;
const maxWorkers = Math.min(mostWorkers, availableParallelism());
const setupFiles = ["./test/seed.ts", "./test/cost-of-file.ts"];

/**
 * Projects: `fast` needs neither QEMU nor a compiler and ends in seconds; `machine` boots guests. They share the workers, one
 * a core; `test/lanes.ts` pairs guests that are big with guests that are tiny. `long` makes and boots whole
 * distributions, from a mirror and for many minutes, one at a time: `npm run test:long` alone runs it.
 */
export default defineConfig({
  test: {
    reporters: ["default", "./test/summary-reporter.ts"],
    sequence: { sequencer: Lanes },
    maxWorkers,
    projects: [
      {
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: ["test/machine/**", "test/long/**"],
          setupFiles,
          maxWorkers,
          testTimeout: 60_000, // a busy host is no failure
        },
      },
      {
        test: {
          name: "machine",
          include: ["test/machine/**/*.test.ts"],
          setupFiles,
          maxWorkers,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: "long",
          include: ["test/long/**/*.test.ts"],
          setupFiles,
          fileParallelism: false,
          testTimeout: 3_600_000,
          hookTimeout: 3_600_000,
        },
      },
    ],
  },
});
