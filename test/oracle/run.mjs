// Runs a TypeScript file of the tests outside the test runner: node test/oracle/run.mjs FILE.ts ARGUMENT…
import { resolve } from "node:path";
import { runnerImport } from "vite";

const [file] = process.argv.splice(2, 1);
await runnerImport(resolve(file), { logLevel: "error", oxc: { target: "node20" } });
