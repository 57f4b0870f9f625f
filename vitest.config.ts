import { defineConfig } from "vitest/config";

/**
 * Projects: `fast` needs neither QEMU nor a compiler and ends in seconds; `machine` boots guests, one file
 * at a time so that timings of one test do not starve another. `long` makes and boots whole distributions, from a
 * mirror and for many minutes: `npm run test:long` alone runs it.
 */
export default defineConfig({
  test: {
    reporters: ["default", "./test/summary-reporter.ts"],
    projects: [
      {
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: ["test/machine/**", "test/long/**"],
          setupFiles: ["./test/seed.ts"],
          testTimeout: 60_000, // a busy host is no failure
        },
      },
      {
        test: {
          name: "machine",
          include: ["test/machine/**/*.test.ts"],
          setupFiles: ["./test/seed.ts"],
          // A guest takes one processor, and its tests wait for it: two at a time fill two.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "long",
          include: ["test/long/**/*.test.ts"],
          setupFiles: ["./test/seed.ts"],
          fileParallelism: false,
          testTimeout: 3_600_000,
          hookTimeout: 3_600_000,
        },
      },
    ],
  },
});
