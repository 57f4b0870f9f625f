import { defineConfig } from "vitest/config";

/**
 * Two projects: `fast` needs neither QEMU nor a compiler and ends in seconds; `machine` boots guests, one file
 * at a time so that timings of one test do not starve another.
 */
export default defineConfig({
  test: {
    reporters: ["default", "./test/summary-reporter.ts"],
    projects: [
      {
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: ["test/machine/**"],
          setupFiles: ["./test/seed.ts"],
          testTimeout: 60_000, // a busy host is no failure
        },
      },
      {
        test: {
          name: "machine",
          include: ["test/machine/**/*.test.ts"],
          setupFiles: ["./test/seed.ts"],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
