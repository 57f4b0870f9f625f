import { readFileSync, writeFileSync } from "node:fs";
import { showRecord } from "./branch-record.js";
import { type Point, SingleStepper } from "./single-step.js";

/**
 * `node test/oracle/run.mjs test/oracle/main.ts COMMAND FROM TO [FILE]`: prints every branch of a window of a tape.
 *
 * COMMAND is a JSON file: the argument list of a replaying QEMU, or the answer of `vmtape info --json`.
 * FROM and TO are `@ICOUNT` or `0xADDRESS`. With FILE the records go there, one JSON object a line.
 */
const [commandFile, begin, end, output] = process.argv.slice(2);
if (commandFile === undefined || begin === undefined || end === undefined) {
  throw new Error("usage: COMMAND.json FROM TO [FILE]");
}
const command = JSON.parse(readFileSync(commandFile, "utf8"));
await using stepper = await SingleStepper.start(Array.isArray(command) ? command : command.replayCommand);
const window = await stepper.step(point(begin), point(end), (steps) => {
  process.stderr.write(`\r${steps} steps`);
});
const lines = window.records.map((record) =>
  output === undefined
    ? showRecord(record)
    : JSON.stringify({ ...record, from: `0x${record.from.toString(16)}`, to: `0x${record.to.toString(16)}` }),
);
const text = lines.map((line) => `${line}\n`).join("");
if (output === undefined) process.stdout.write(text);
else writeFileSync(output, text);
process.stderr.write(
  `\r@${window.from} to @${window.to}: ${window.steps} steps (${window.emptySteps} empty), ` +
    `${Math.round(window.steps / window.seconds)} a second, ${window.records.length} branches\n`,
);
for (const doubt of window.doubts) process.stderr.write(`doubt: ${doubt}\n`);
process.exitCode = window.doubts.length === 0 ? 0 : 1;

function point(text: string): Point {
  return text.startsWith("@") ? { icount: Number(text.slice(1)) } : { address: BigInt(text) };
}
