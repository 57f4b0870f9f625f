import { runnerImport } from "vite";

const f = process.argv[2];
process.argv.splice(1, 1);
await runnerImport(f, { logLevel: "error" });
